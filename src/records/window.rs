//! What happened while the requests arrived that the statistics count.

use crate::base::Nanos;

/// What arrived, finished and was produced between the first and the last arrival that the
/// statistics count (the first excluded, the last included): rates of the steady state, without the
/// queue that is served when arrivals have stopped.
///
/// The last of these arrivals is known only when it was one. What happened since the last one so
/// far is therefore kept apart until another one comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteadyWindow {
    first: Option<Nanos>,
    last: Nanos,
    arrivals: u64,
    within: Produced,
    since: Produced,
}

/// What was produced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Produced {
    /// Requests that finished.
    pub completions: u64,
    /// Prompt tokens of requests whose first token came.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl SteadyWindow {
    /// A request that the statistics count arrives now. Calls come in the order of time.
    pub fn arrived(&mut self, now: Nanos) {
        self.first.get_or_insert(now);
        self.last = now;
        self.arrivals += 1;
        self.within.add(self.since);
        self.since = Produced::default();
    }

    /// So much was produced at `time`, which is now or past.
    pub fn produced(&mut self, time: Nanos, what: Produced) {
        match self.first {
            Some(first) if time > first && time <= self.last => self.within.add(what),
            Some(first) if time > first => self.since.add(what),
            _ => {}
        }
    }

    /// Iterations of a run, which end at these times in their order, made so many output tokens
    /// each.
    pub fn iterations(&mut self, ends: impl Iterator<Item = Nanos>, output_tokens: u64) {
        for end in ends {
            self.produced(end, Produced { output_tokens, ..Produced::default() });
        }
    }

    /// From the first to the last of its arrivals, in seconds; 0 without two of them.
    pub fn seconds(&self) -> f64 {
        self.first.map_or(0.0, |first| self.last.since(first).as_secs_f64())
    }

    /// Requests that arrived in it, the first and the last one included.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// What was produced in it.
    pub fn within(&self) -> Produced {
        self.within
    }
}

impl Produced {
    fn add(&mut self, more: Produced) {
        self.completions += more.completions;
        self.prompt_tokens += more.prompt_tokens;
        self.output_tokens += more.output_tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_the_last_arrival_does_not_count() {
        let mut window = SteadyWindow::default();
        let one = |output_tokens| Produced { output_tokens, ..Produced::default() };
        window.produced(Nanos(5), one(1));
        window.arrived(Nanos(10));
        window.produced(Nanos(10), one(10));
        window.produced(Nanos(12), one(100));
        assert_eq!((window.within().output_tokens, window.seconds()), (0, 0.0));
        window.arrived(Nanos(20));
        // Iterations that began before are committed when they end.
        window.iterations([8, 14, 20, 26].map(Nanos).into_iter(), 1_000);
        window.produced(Nanos(30), one(10_000));
        assert_eq!(window.within().output_tokens, 2_100);
        assert_eq!((window.arrivals(), window.seconds()), (2, 10e-9));
    }
}

//! Refuses requests whose first token would come too late.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Admission, AdmissionClass, AdmissionRequest, PoolState};
use crate::base::{Nanos, SettingError};

/// Seconds of backlog from which on its rate is taken from it.
const ENOUGH_S: f64 = 1.0;

/// A request is refused if `safety` times its predicted TTFT exceeds the TTFT limit of its class:
///
/// ```text
/// TTFT = W / (R - U) + p / r
/// ```
///
/// `W`: prompt tokens that were let in before it, come before it and are not processed yet; `R`:
/// prompt tokens per second that all replicas together processed lately while they had a backlog;
/// `p`: its own prompt; `r`: prompt tokens per second of the batches with prompts so far. Between
/// two arrivals nothing joins the backlog, so if there is one at the second, there was one all the
/// time between: `R` is the tokens of such gaps divided by their length, older ones fading as
/// `exp(-age / window_s)`. `U`: prompt tokens per second of more urgent requests that were let in
/// lately, where the policy schedules by priority: they overtake; 0 otherwise. With less than a
/// second of them `R` is `r` times the replicas. Nothing is refused before the first prompt was
/// processed, nor in a class without a TTFT limit.
///
/// This is an estimate of this program's, not the rule of an engine. What a prefix cache will spare
/// is not in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictedTtft {
    /// Factor on the prediction: above 1 refuses earlier.
    pub safety: f64,
    /// Seconds over which the rate is measured.
    pub window_s: f64,
    #[serde(skip)]
    seen: Seen,
}

impl Default for PredictedTtft {
    fn default() -> PredictedTtft {
        PredictedTtft { safety: 1.5, window_s: 10.0, seen: Seen::default() }
    }
}

/// What was seen of the backlog.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The last arrival, and the tokens processed until then.
    last: Option<(Nanos, u64)>,
    /// Tokens and seconds of gaps with a backlog, the older the less.
    tokens: f64,
    seconds: f64,
    /// All seconds, and the prompt tokens that were let in by priority, the older the less.
    time: f64,
    admitted: BTreeMap<i32, f64>,
}

impl PredictedTtft {
    /// Takes in what happened since the last arrival.
    fn look(&mut self, now: Nanos, pool: &PoolState) {
        let Some((time, prefilled)) = self.seen.last.replace((now, pool.prefilled)) else { return };
        let span = now.since(time).as_secs_f64();
        let fading = libm::exp(-span / self.window_s);
        self.seen.tokens *= fading;
        self.seen.seconds *= fading;
        self.seen.time = self.seen.time * fading + span;
        self.seen.admitted.values_mut().for_each(|tokens| *tokens *= fading);
        if pool.unprocessed > 0 {
            self.seen.tokens += pool.prefilled.saturating_sub(prefilled) as f64;
            self.seen.seconds += span;
        }
    }

    /// Seconds until the first token of a prompt of so many tokens; `None` if nothing is known yet.
    fn predict(&self, request: &AdmissionRequest, pool: &PoolState) -> Option<f64> {
        if pool.prefilled == 0 || pool.prefill_time == Nanos::ZERO {
            return None;
        }
        let own = pool.prefilled as f64 / pool.prefill_time.as_secs_f64();
        let backlog = match self.seen.seconds >= ENOUGH_S && self.seen.tokens > 0.0 {
            true => self.seen.tokens / self.seen.seconds,
            false => own * f64::from(pool.replicas),
        };
        let queue = match pool.ahead {
            0 => 0.0,
            ahead => ahead as f64 / (backlog - self.overtaking(request.priority, pool)).max(0.0),
        };
        Some(queue + f64::from(request.prompt_tokens) / own)
    }

    /// Prompt tokens per second of requests that are more urgent.
    fn overtaking(&self, priority: i32, pool: &PoolState) -> f64 {
        if !pool.by_priority || self.seen.time < ENOUGH_S {
            return 0.0;
        }
        self.seen.admitted.range(..priority).map(|(_, tokens)| tokens).sum::<f64>() / self.seen.time
    }
}

impl Admission for PredictedTtft {
    const NAME: &'static str = "PredictedTtft";
    const ABOUT: &'static str = "refuses requests whose class's TTFT limit would be missed";

    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError> {
        if !(self.safety > 0.0 && self.safety <= 100.0) {
            let expected = "a factor above 0 and at most 100";
            return Err(SettingError::new("safety", self.safety, expected));
        }
        if !(self.window_s >= 0.1 && self.window_s <= 1e6) {
            return Err(SettingError::new("window_s", self.window_s, "seconds, 0.1 to 1e6"));
        }
        let limited =
            |class: &AdmissionClass| class.slo.as_ref().is_some_and(|slo| slo.ttft_ms.is_some());
        match classes.iter().any(limited) {
            true => Ok(()),
            false => {
                let expected = "`slo: (ttft_ms: ...)` of the scenario or of a class";
                Err(SettingError::new("", "given without a TTFT limit", expected))
            }
        }
    }

    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String> {
        self.look(request.now, pool);
        let limit_ms = request.about.slo.as_ref().and_then(|slo| slo.ttft_ms);
        let seconds = limit_ms.and_then(|_| self.predict(request, pool)).unwrap_or(0.0);
        let limit_ms = limit_ms.unwrap_or(f64::INFINITY);
        if self.safety * seconds * 1e3 <= limit_ms {
            let admitted = self.seen.admitted.entry(request.priority).or_default();
            *admitted += f64::from(request.prompt_tokens);
            return Ok(());
        }
        Err(format!("admission: predicted TTFT {seconds:.3} s, limit {limit_ms} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Slo;

    fn class(ttft_ms: Option<f64>) -> AdmissionClass {
        let slo = Slo { ttft_ms, tpot_ms: Some(50.0), attain: 0.9, ..Slo::default() };
        AdmissionClass { name: "a".to_owned(), slo: Some(slo) }
    }

    /// 100 ms of busy time for every 1000 tokens, and twice as long in all.
    fn pool(seconds: u64, ahead: u64) -> PoolState {
        PoolState {
            replicas: 2,
            waiting: 1,
            unprocessed: ahead,
            ahead,
            by_priority: false,
            prefilled: 5_000 * seconds,
            prefill_time: Nanos(500_000_000 * seconds),
        }
    }

    #[test]
    fn the_formula_by_hand() {
        let class = class(Some(1_000.0));
        let mut gate = PredictedTtft { safety: 1.0, window_s: 1e6, ..PredictedTtft::default() };
        gate.check(std::slice::from_ref(&class)).unwrap();
        let mut admit = |seconds: u64, ahead, prompt_tokens| {
            let now = Nanos(seconds * 1_000_000_000);
            let request =
                AdmissionRequest { now, class: 0, about: &class, prompt_tokens, priority: 0 };
            gate.admit(&request, &pool(seconds, ahead))
        };
        // Nothing is known at first; then two replicas at 10,000 tokens/s each.
        admit(0, 1_000_000, 1_000_000).unwrap();
        admit(0, 0, 1_000_000).unwrap();
        // No backlog at the end of the second: it says nothing of the rate.
        admit(1, 0, 10_000).unwrap();
        admit(1, 0, 10_001).unwrap_err();
        admit(1, 18_000, 1_000).unwrap();
        admit(1, 18_100, 1_000).unwrap_err();
        // Over seconds with a backlog 5,000 tokens/s in all: 4,500 tokens and 1,000 take a second.
        admit(10, 4_500, 990).unwrap();
        let reason = admit(10, 4_600, 1_000).unwrap_err();
        assert_eq!(reason, "admission: predicted TTFT 1.020 s, limit 1000 ms");
    }

    #[test]
    fn more_urgent_requests_overtake() {
        let class = class(Some(1_000.0));
        let mut gate = PredictedTtft { safety: 1.0, window_s: 1e6, ..PredictedTtft::default() };
        let mut admit = |seconds: u64, ahead, priority, by_priority| {
            let now = Nanos(seconds * 1_000_000_000);
            let request =
                AdmissionRequest { now, class: 0, about: &class, prompt_tokens: 1_000, priority };
            gate.admit(&request, &PoolState { by_priority, ..pool(seconds, ahead) }).is_ok()
        };
        // In ten seconds 10,000 more urgent prompt tokens: 1,000 of 5,000 tokens/s.
        for _ in 0..10 {
            assert!(admit(0, 0, -1, true));
        }
        assert!(admit(10, 3_500, 0, true));
        assert!(!admit(10, 3_700, 0, true), "3,700 tokens at 4,000 tokens/s, and 100 ms");
        assert!(admit(10, 3_700, 0, false), "the policy does not look at priorities");
        assert!(admit(10, 3_700, -1, true), "nothing is more urgent");
    }

    #[test]
    fn old_gaps_fade() {
        let mut gate = PredictedTtft { window_s: 1.0, ..PredictedTtft::default() };
        let state = |prefilled, unprocessed| PoolState { prefilled, unprocessed, ..pool(1, 0) };
        gate.look(Nanos::ZERO, &state(0, 0));
        gate.look(Nanos(1_000_000_000), &state(1_000, 5));
        assert_eq!((gate.seen.tokens, gate.seen.seconds), (1_000.0, 1.0));
        gate.look(Nanos(2_000_000_000), &state(4_000, 5));
        let faded = libm::exp(-1.0);
        assert_eq!((gate.seen.tokens, gate.seen.seconds), (1_000.0 * faded + 3_000.0, faded + 1.0));
    }

    #[test]
    fn a_class_without_a_limit_is_let_in_and_one_is_needed() {
        let without = class(None);
        let mut gate = PredictedTtft::default();
        assert!(gate.check(std::slice::from_ref(&without)).is_err());
        gate.check(&[without.clone(), class(Some(100.0))]).unwrap();
        let request = AdmissionRequest {
            now: Nanos(5),
            class: 0,
            about: &without,
            prompt_tokens: 1 << 30,
            priority: 0,
        };
        gate.admit(&request, &pool(1, 1 << 40)).unwrap();
        assert_eq!(PredictedTtft { safety: 0.0, ..gate }.check(&[]).unwrap_err().path, "safety");
    }
}

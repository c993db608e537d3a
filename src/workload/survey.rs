//! A look at the requests before they run.

use super::Workload;

/// The most requests that are looked at where nothing but the simulation ends the workload.
const LONGEST_LOOK: u64 = 100_000;

/// The most that are looked at of all others but a trace, which has been read to its end before.
const LONG_LOOK: u64 = 1_000_000;

/// What the requests of one seed are like, found by running through them once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Number of requests (a closed loop bounded by a duration alone: the first 100,000; generated
    /// ones: the first 1,000,000).
    pub requests: u64,
    /// How many of them the statistics count.
    pub counted: u64,
    /// How many have a prompt plus output above the limit that was asked about.
    pub over_limit: u64,
    /// Longest prompt, in tokens.
    pub longest_prompt: u32,
    /// Longest output, in tokens.
    pub longest_output: u32,
    /// Longest prompt plus output, in tokens.
    pub longest_total: u32,
    /// Sum of prompt tokens.
    pub prompt_tokens: u64,
    /// Sum of output tokens.
    pub output_tokens: u64,
}

impl Workload {
    /// Runs through the requests of `seed` and counts those with a prompt plus output above
    /// `max_total` tokens (a model's limit), so that one can say so before the run.
    pub fn survey(&self, seed: u64, max_total: u32) -> Survey {
        let closed = self.is_closed_loop();
        let endless = self.request_count().is_none() && self.concurrency().is_some();
        let most = match (endless, self.is_replay()) {
            (true, _) => LONGEST_LOOK,
            (false, true) => u64::MAX,
            (false, false) => LONG_LOOK,
        };
        let window = self.window(seed);
        let mut source = self.source(seed);
        let mut survey = Survey::default();
        let mut following = None;
        while survey.requests < most
            && let Some(request) = following.take().or_else(|| source.next_request())
        {
            following = source.ended(request.id, true, request.arrived_at);
            let total = request.prompt_tokens + request.output_tokens;
            // The arrival times of a closed loop are not known yet.
            let counted = closed || window.contains(survey.requests, request.arrived_at);
            survey.counted += u64::from(counted);
            survey.requests += 1;
            survey.over_limit += u64::from(total > max_total);
            survey.longest_prompt = survey.longest_prompt.max(request.prompt_tokens);
            survey.longest_output = survey.longest_output.max(request.output_tokens);
            survey.longest_total = survey.longest_total.max(total);
            survey.prompt_tokens += u64::from(request.prompt_tokens);
            survey.output_tokens += u64::from(request.output_tokens);
        }
        survey
    }
}

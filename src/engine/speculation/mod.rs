//! Speculative decoding: a cheap proposer drafts several tokens, the model verifies them in one
//! pass.
//!
//! In each iteration a decoding request feeds its last token and `k` drafts. What the pass accepts
//! and one token more, which it gives itself, is the request's progress; the rest is thrown away
//! and its KV blocks are given back. `docs/speculative-decoding.md` has the model, its equations
//! and what is left out.
//!
//! [`Speculation`] is what a run needs; `SpeculativeSettings` is what a scenario writes. The pass
//! with its drafts is priced by [`SpeculativePredictor`], and whether drafts are accepted is drawn
//! by `Drafting`, of which each request has its own.

mod acceptance;
mod adaptive;
mod predictor;
mod settings;

use std::sync::Arc;

pub use acceptance::Acceptance;
pub(crate) use acceptance::Drafting;
#[doc(hidden)]
pub use acceptance::best_k;
#[doc(hidden)]
pub use acceptance::speed_up;
#[doc(hidden)]
pub use acceptance::tokens_per_step;
pub use adaptive::Adaptive;
pub(crate) use adaptive::Estimate;
pub use predictor::Drafter;
pub use predictor::SpeculativePredictor;
pub(crate) use settings::{Checked, check as check_settings, kv_bytes_per_token};
pub(crate) use settings::{Draft, SpeculativeSettings};

use crate::timing::{BatchShape, Predictor, StagePosition};

/// The only stage: a pipeline does not speculate.
const STAGE: StagePosition = StagePosition { index: 0, count: 1 };

/// How the requests of a run speculate.
#[derive(Clone)]
pub struct Speculation {
    /// Most drafts per request and iteration.
    pub k: u32,
    /// How likely a draft is accepted.
    pub acceptance: Acceptance,
    /// How the number of drafts follows the load.
    pub adaptive: Adaptive,
    /// What a pass costs together with its drafts.
    pub predictor: Arc<SpeculativePredictor>,
}

impl Speculation {
    /// Drafts per request in the next iteration of a replica with so many running requests.
    pub fn drafts(&self, estimate: &Estimate, running: u32) -> u32 {
        match &self.adaptive {
            Adaptive::Off => self.k,
            Adaptive::ByBatchSize(steps) => {
                steps.iter().find(|(most, _)| running <= *most).map_or(0, |&(_, k)| k)
            }
            Adaptive::ByAcceptance { .. } => estimate.choice.unwrap_or(self.k),
        }
    }

    /// Chooses how many drafts batches like `shape`, which has just ended, are worth: the number
    /// that makes the most tokens per second at the acceptance seen so far.
    pub fn choose(&self, shape: &BatchShape, estimate: &mut Estimate) {
        let (Adaptive::ByAcceptance { .. }, Some(alpha)) = (&self.adaptive, estimate.acceptance())
        else {
            return;
        };
        if shape.decodes == 0 {
            return;
        }
        let (mut best, mut best_rate) = (0, 0.0);
        for k in 0..=self.k {
            let time = self.predictor.stage_time(&shape.with_drafts(k), STAGE).total.as_secs_f64();
            let rate = tokens_per_step(alpha, k) / time;
            if rate > best_rate {
                (best, best_rate) = (k, rate);
            }
        }
        estimate.choice = Some(best);
    }
}

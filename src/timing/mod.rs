//! Execution times: what a batch costs on a pipeline stage.
//!
//! A [`Predictor`] is a pure function of a batch's composition ([`BatchShape`]) to a time
//! ([`StageTime`]). It keeps no state between calls: everything that can be computed once is
//! computed when it is built.

mod any;
mod formula;
mod full;
mod layerwise;
mod measured;
mod partition;
mod run;
mod run_pricing;
mod settings;
mod shared;
#[cfg(test)]
mod shared_tests;

#[doc(hidden)]
pub use any::AnyTiming;
#[doc(hidden)]
pub use formula::FormulaSettings;
#[doc(hidden)]
pub use full::{FullSettings, RooflineSettings};
#[cfg(feature = "cli")]
pub(crate) use full::{attention_surfaces, coverage, data_sheet, transfer_errors};
#[doc(hidden)]
pub use layerwise::{LayerwiseSettings, StragglerSetting};
#[doc(hidden)]
pub use measured::{Composition, MeasuredSettings};
pub(crate) use partition::Partition;
pub(crate) use run::Run;
pub(crate) use run_pricing::RunBounds;
#[doc(hidden)]
pub use run_pricing::RunPricing;
pub(crate) use settings::check_network;
pub use settings::{TimingContext, TimingSettings};
pub use shared::SharedTables;

use std::ops::AddAssign;
use std::sync::Arc;

use crate::base::Nanos;

/// One prompt (or a chunk of one) in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillPart {
    /// Tokens of the prompt processed by this batch.
    pub tokens: u32,
    /// Tokens of the same request that are already in the KV cache.
    pub context: u32,
}

/// What a batch consists of, as far as its execution time depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchShape {
    /// Tokens fed to the model: all chunks plus one per decoding request, and the drafts.
    pub tokens: u32,
    /// The prompts or chunks, in batch order.
    pub prefills: Vec<PrefillPart>,
    /// Number of decoding requests (one token each, and their drafts).
    pub decodes: u32,
    /// Sum over the decoding requests of their context length in tokens, the token being fed
    /// included.
    pub decode_context: u64,
    /// Sum of the squares of these context lengths.
    pub decode_context_squares: u64,
    /// The longest of them.
    pub decode_context_max: u32,
    /// The shortest of them; 0 without decoding requests.
    pub decode_context_min: u32,
    /// Tokens that decoding requests feed beside: drafts that this pass verifies (speculative
    /// decoding).
    pub drafts: u32,
    /// Sum over the decoding requests of (context, as in `decode_context`, x drafts).
    pub draft_context: u64,
    /// The most drafts of one request: so many steps the drafter takes.
    pub draft_steps: u32,
}

impl BatchShape {
    /// The batch of these prompts or chunks, and of decoding requests with these contexts.
    ///
    /// ```
    /// use vidur_ecs::timing::{BatchShape, PrefillPart};
    /// let batch = BatchShape::of(&[PrefillPart { tokens: 100, context: 50 }], &[300, 400]);
    /// assert_eq!((batch.tokens, batch.decode_context), (102, 700));
    /// ```
    pub fn of(prefills: &[PrefillPart], decode_contexts: &[u32]) -> BatchShape {
        let mut shape = BatchShape::default();
        for part in prefills {
            shape.add_prefill(part.tokens, part.context);
        }
        for &context in decode_contexts {
            shape.add_decode(context);
        }
        shape
    }

    /// Tokens of prompts in this batch.
    pub fn prefill_tokens(&self) -> u32 {
        self.tokens - self.decodes - self.drafts
    }

    /// Rows of logits: one for each prompt or chunk, and one for each token of a decoding request.
    pub fn sampled(&self) -> u32 {
        let prefills = self.prefills.len() as u32;
        self.decodes.saturating_add(self.drafts).saturating_add(prefills)
    }

    /// Sum over all requests of (context before this batch x tokens in this batch), where a
    /// decoding request's context counts the token being fed: the `S` of the closed form.
    pub fn context_products(&self) -> u64 {
        let prefill: u64 =
            self.prefills.iter().map(|p| u64::from(p.context) * u64::from(p.tokens)).sum();
        prefill + self.decode_context + self.draft_context
    }

    /// Adds a decoding request with a context of `context` tokens, the one being fed included.
    pub fn add_decode(&mut self, context: u32) {
        self.decode_context_min =
            if self.decodes == 0 { context } else { self.decode_context_min.min(context) };
        self.tokens += 1;
        self.decodes += 1;
        self.decode_context += u64::from(context);
        self.decode_context_squares += u64::from(context) * u64::from(context);
        self.decode_context_max = self.decode_context_max.max(context);
    }

    /// Adds `drafts` drafts of the decoding request that was added last, with a context of
    /// `context` tokens.
    pub fn add_drafts(&mut self, drafts: u32, context: u32) {
        self.tokens += drafts;
        self.drafts += drafts;
        self.draft_context += u64::from(drafts) * u64::from(context);
        self.draft_steps = self.draft_steps.max(drafts);
    }

    /// The batch with `drafts` drafts for each decoding request.
    pub fn with_drafts(&self, drafts: u32) -> BatchShape {
        let all = self.decodes.saturating_mul(drafts);
        BatchShape {
            tokens: self.tokens - self.drafts + all,
            drafts: all,
            draft_context: self.decode_context * u64::from(drafts),
            draft_steps: if self.decodes > 0 { drafts } else { 0 },
            ..self.clone()
        }
    }

    /// Takes the prompts and chunks out.
    pub fn without_prefills(&mut self) {
        self.tokens -= self.prefill_tokens();
        self.prefills.clear();
    }

    /// The mean over the decoding requests of what a verifying kernel reads of the KV cache: the
    /// context and the drafts. Not 0 requests.
    pub(crate) fn decode_context_mean(&self) -> f64 {
        (self.decode_context + u64::from(self.drafts)) as f64 / f64::from(self.decodes)
    }

    /// The batch `iterations` later, if it only decodes: every context is so many tokens longer.
    #[inline]
    pub fn next_decodes(&mut self, iterations: u32) {
        let (more, decodes) = (u64::from(iterations), u64::from(self.decodes));
        self.decode_context_squares += more * (2 * self.decode_context + more * decodes);
        self.decode_context += more * decodes;
        self.decode_context_max += iterations;
        self.decode_context_min += iterations;
    }

    /// Adds `count` decoding requests (at least one) by the sums over their contexts, as
    /// [`BatchShape::add_decode`] would one after the other.
    pub(crate) fn add_decodes(
        &mut self,
        count: u32,
        context: u64,
        squares: u64,
        min: u32,
        max: u32,
    ) {
        self.decode_context_min = match self.decodes {
            0 => min,
            _ => self.decode_context_min.min(min),
        };
        self.tokens += count;
        self.decodes += count;
        self.decode_context += context;
        self.decode_context_squares += squares;
        self.decode_context_max = self.decode_context_max.max(max);
    }

    /// Adds `tokens` tokens of a prompt of which `context` tokens are in the KV cache already.
    pub fn add_prefill(&mut self, tokens: u32, context: u32) {
        self.tokens += tokens;
        self.prefills.push(PrefillPart { tokens, context });
    }

    /// Empties the shape, keeping its memory.
    pub fn clear(&mut self) {
        self.tokens = 0;
        self.prefills.clear();
        self.decodes = 0;
        self.decode_context = 0;
        self.decode_context_squares = 0;
        self.decode_context_max = 0;
        self.decode_context_min = 0;
        self.drafts = 0;
        self.draft_context = 0;
        self.draft_steps = 0;
    }
}

/// A pipeline stage's place: `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagePosition {
    /// 0 for the first stage.
    pub index: u32,
    /// Number of stages.
    pub count: u32,
}

/// The time of a batch on one stage, and where it goes. What the named parts leave of `total` is
/// GEMMs and everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageTime {
    /// The whole time on the stage.
    pub total: Nanos,
    /// What rounding to the nearest left of it, in nanoseconds, -0.5 to 0.5 (0 is fine). The clock
    /// keeps it, so that the same error again and again does not make long runs drift.
    pub rest_ns: f64,
    /// Attention kernels over prompts.
    pub attention_prefill: Nanos,
    /// Attention kernels of decoding requests.
    pub attention_decode: Nanos,
    /// All-reduce and send/receive, with their launch overheads.
    pub communication: Nanos,
    /// The part of `total` that rests on measurements of other shapes, scaled by work, or on bytes
    /// moved at a known speed. What this and `extrapolated` leave of `total` was measured, or is a
    /// setting.
    pub transferred: Nanos,
    /// The part of `total` that goes on, by work, where measurements ended.
    pub extrapolated: Nanos,
}

impl StageTime {
    fn parts(&self) -> [Nanos; 5] {
        [
            self.attention_prefill,
            self.attention_decode,
            self.communication,
            self.transferred,
            self.extrapolated,
        ]
    }

    /// Whether it says more than how long it takes.
    pub(crate) fn has_parts(&self) -> bool {
        self.parts() != [Nanos::ZERO; 5]
    }

    /// Whether it says the same but for how long it takes.
    pub(crate) fn has_parts_of(&self, other: &StageTime) -> bool {
        self.parts() == other.parts()
    }

    /// Adds the whole nanoseconds of `times` times another one.
    pub(crate) fn add_times(&mut self, other: &StageTime, times: u64) {
        let sum = |sum: &mut Nanos, one: Nanos| *sum += Nanos(one.0.saturating_mul(times));
        sum(&mut self.total, other.total);
        sum(&mut self.attention_prefill, other.attention_prefill);
        sum(&mut self.attention_decode, other.attention_decode);
        sum(&mut self.communication, other.communication);
        sum(&mut self.transferred, other.transferred);
        sum(&mut self.extrapolated, other.extrapolated);
    }
}

impl AddAssign for StageTime {
    /// Adds the whole nanoseconds; the rests of sums are the clock's.
    fn add_assign(&mut self, other: StageTime) {
        self.total += other.total;
        self.attention_prefill += other.attention_prefill;
        self.attention_decode += other.attention_decode;
        self.communication += other.communication;
        self.transferred += other.transferred;
        self.extrapolated += other.extrapolated;
    }
}

/// What a run's times rest on, for the summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimingNote {
    /// For example `A100 GEMM (Vidur) + A800 attention (Frontier), composition Vidur`.
    pub rests_on: String,
    /// For example `LM head, sampling, CPU launch, HTTP`; empty if nothing is left out.
    pub not_modelled: String,
    /// Against what the composition was checked.
    pub checked_against: String,
    /// Whether the times are those of a real device, so that MFU means something.
    pub physical: bool,
    /// Whether they are an estimate, without measurements of the device.
    pub estimate: bool,
}

/// A model of execution time.
pub trait Predictor: Send + Sync {
    /// The time of `batch` on stage `stage`.
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime;

    /// Prices iterations of a batch that only decodes, as [`Predictor::stage_time`] of each would.
    /// To be overridden where a predictor knows for how many iterations a time stays what it is.
    fn price_run(&self, run: &mut RunPricing<'_>) {
        let stage = run.stage();
        while let Some(batch) = run.next_batch() {
            let time = self.stage_time(batch, stage);
            run.take(time);
        }
    }

    /// What the times rest on.
    fn note(&self) -> TimingNote;

    /// Warnings gathered so far (each once), such as "extrapolated beyond the measured range".
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The predictor for another configuration: tables are shared, and no warnings are gathered
    /// yet. `None` if every configuration has to build its own.
    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        None
    }
}

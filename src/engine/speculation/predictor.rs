//! What a pass costs together with the drafts that it verifies.

use std::sync::Arc;

use crate::base::Nanos;
use crate::timing::{BatchShape, Predictor, StagePosition, StageTime, TimingNote};

/// Where drafts come from, as far as their time goes.
#[derive(Clone)]
pub enum Drafter {
    /// A table look-up on the CPU: so much per iteration that has drafts, whatever their number.
    LookUp(Nanos),
    /// Passes of a model, one after the other: one per draft, and the first takes the batch's
    /// prompts in too.
    Passes {
        /// What a pass costs.
        predictor: Arc<dyn Predictor>,
        /// What share of that.
        share: f64,
    },
}

impl Drafter {
    /// The time of the drafts of `batch`.
    fn time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let steps = batch.draft_steps;
        match self {
            Drafter::LookUp(time) => StageTime {
                total: if steps > 0 { *time } else { Nanos::ZERO },
                ..StageTime::default()
            },
            Drafter::Passes { predictor, share } => {
                let mut time = StageTime::default();
                let mut shape = batch.with_drafts(0);
                if steps == 0 {
                    // Nobody drafts, but the drafter's KV cache must hold the prompts.
                    shape.clear();
                    for part in &batch.prefills {
                        shape.add_prefill(part.tokens, part.context);
                    }
                }
                if shape.tokens == 0 {
                    return time;
                }
                add(&mut time, predictor.stage_time(&shape, stage));
                shape.without_prefills();
                for _ in 1..steps {
                    shape.next_decodes(1);
                    add(&mut time, predictor.stage_time(&shape, stage));
                }
                if *share == 1.0 { time } else { scaled(time, *share) }
            }
        }
    }
}

/// A predictor of passes that verify drafts: the model's pass over its whole width, and the drafts.
pub struct SpeculativePredictor {
    target: Arc<dyn Predictor>,
    drafter: Drafter,
    /// What drafts, for the note: `Llama-2-7B`.
    name: String,
}

impl SpeculativePredictor {
    /// Passes of `target` with drafts of `drafter`, which notes call `name`.
    pub fn new(target: Arc<dyn Predictor>, drafter: Drafter, name: &str) -> SpeculativePredictor {
        SpeculativePredictor { target, drafter, name: name.to_owned() }
    }

    /// What the same batch would cost without drafts.
    pub fn plain(&self, batch: &BatchShape, stage: StagePosition) -> Nanos {
        self.target.stage_time(&batch.with_drafts(0), stage).total
    }
}

impl Predictor for SpeculativePredictor {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let mut time = self.target.stage_time(batch, stage);
        if stage.index + 1 == stage.count {
            add(&mut time, self.drafter.time(batch, stage));
        }
        time
    }

    fn note(&self) -> TimingNote {
        let mut note = self.target.note();
        match &self.drafter {
            Drafter::LookUp(_) => {
                note.rests_on.push_str(&format!("; drafts of {} as set", self.name));
            }
            Drafter::Passes { predictor, .. } => {
                let draft = predictor.note();
                note.rests_on.push_str(&format!("; drafts of {}: {}", self.name, draft.rests_on));
                note.estimate |= draft.estimate;
            }
        }
        let left_out = "rejection sampling";
        match note.not_modelled.as_str() {
            "" => note.not_modelled = left_out.to_owned(),
            _ => note.not_modelled.push_str(&format!(", {left_out}")),
        }
        note
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.target.warnings();
        if let Drafter::Passes { predictor, .. } = &self.drafter {
            for warning in predictor.warnings() {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        warnings
    }
}

fn add(sum: &mut StageTime, other: StageTime) {
    let rest = sum.rest_ns + other.rest_ns;
    let whole = if rest.abs() < 0.5 { 0.0 } else { rest.round() };
    let total = (sum.total + other.total).0.saturating_add_signed(whole as i64);
    *sum = StageTime {
        total: Nanos(total),
        rest_ns: rest - whole,
        attention_prefill: sum.attention_prefill + other.attention_prefill,
        attention_decode: sum.attention_decode + other.attention_decode,
        communication: sum.communication + other.communication,
        transferred: sum.transferred + other.transferred,
        extrapolated: sum.extrapolated + other.extrapolated,
    };
}

fn scaled(time: StageTime, share: f64) -> StageTime {
    let part = |part: Nanos| Nanos::from_secs_f64(part.as_secs_f64() * share);
    let seconds = (time.total.0 as f64 + time.rest_ns) * share * 1e-9;
    let (total, rest_ns) = Nanos::from_secs_f64_with_rest(seconds);
    StageTime {
        total,
        rest_ns,
        attention_prefill: part(time.attention_prefill),
        attention_decode: part(time.attention_decode),
        communication: part(time.communication),
        transferred: part(time.transferred),
        extrapolated: part(time.extrapolated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::{FormulaSettings, PrefillPart};

    const ONE: StagePosition = StagePosition { index: 0, count: 1 };

    fn formula(base: f64, per_token: f64, per_context: f64) -> Arc<dyn Predictor> {
        Arc::new(FormulaSettings { base, per_token, per_context })
    }

    fn batch(prefills: &[PrefillPart], decodes: &[u32], drafts: u32) -> BatchShape {
        BatchShape::of(prefills, decodes).with_drafts(drafts)
    }

    #[test]
    fn a_pass_costs_its_width_and_one_pass_of_the_drafter_per_draft() {
        let target = formula(1e-3, 1e-5, 1e-7);
        let draft = formula(1e-4, 1e-6, 1e-8);
        let drafter = Drafter::Passes { predictor: draft, share: 1.0 };
        let speculative = SpeculativePredictor::new(target, drafter, "draft");
        let time = |shape: &BatchShape| speculative.stage_time(shape, ONE).total.0;
        // Two requests of 100 and 200 tokens verify 4 tokens each; drafts see 300, 302 and 304.
        let verify = 1_000_000 + 8 * 10_000 + 4 * 300 * 100;
        let drafts = 3 * (100_000 + 2 * 1_000) + (300 + 302 + 304) * 10;
        assert_eq!(time(&batch(&[], &[100, 200], 3)), verify + drafts);
        // A prompt is taken in by both; without drafts a batch that decodes costs the pass alone.
        let prompt = [PrefillPart { tokens: 50, context: 10 }];
        assert_eq!(time(&batch(&prompt, &[], 0)), 1_550_000 + 150_000 + 5_000);
        assert_eq!(time(&batch(&[], &[100], 0)), 1_010_000 + 10_000);
        assert_eq!(speculative.plain(&batch(&[], &[100], 3), ONE).0, 1_020_000);
    }

    #[test]
    fn heads_cost_a_share_and_look_ups_the_same_for_any_number() {
        let target = formula(1e-3, 0.0, 0.0);
        let heads = Drafter::Passes { predictor: target.clone(), share: 0.05 };
        let heads = SpeculativePredictor::new(target.clone(), heads, "heads");
        assert_eq!(heads.stage_time(&batch(&[], &[10], 4), ONE).total.0, 1_200_000);
        let look_up = Drafter::LookUp(Nanos(7_000));
        let look_up = SpeculativePredictor::new(target, look_up, "n-grams");
        let time = |drafts| look_up.stage_time(&batch(&[], &[10], drafts), ONE).total.0;
        assert_eq!((time(0), time(1), time(9)), (1_000_000, 1_007_000, 1_007_000));
        assert!(look_up.note().rests_on.ends_with("; drafts of n-grams as set"));
    }
}

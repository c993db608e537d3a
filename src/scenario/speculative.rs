//! Speculative decoding, from its settings to what a run needs.

use std::sync::Arc;

use super::document::Document;
use super::plugins;
use crate::base::{Diagnostic, Nanos, SettingError};
use crate::engine::speculation::{
    Checked, Draft, Drafter, Speculation, SpeculativePredictor, SpeculativeSettings,
};
use crate::hardware::memory::DraftMemory;
use crate::registry::Entry;
use crate::timing::{AnyTiming, Predictor, TimingContext};

/// Speculative decoding of a configuration.
pub struct Speculative {
    /// What the scenario says.
    pub settings: SpeculativeSettings,
    /// The timing of the draft model, where it has one of its own.
    pub draft_timing: Option<Box<dyn AnyTiming>>,
    /// What the proposer needs on each GPU.
    pub memory: DraftMemory,
    /// What a run needs.
    pub run: Speculation,
}

impl Speculative {
    /// The draft timing as a setting of `engine.speculative`; empty without.
    pub(super) fn draft_timing_text(&self) -> String {
        self.draft_timing
            .as_ref()
            .map_or_else(String::new, |timing| format!(", draft_timing: {}", timing.to_ron()))
    }
}

/// Whether the two sides of a disaggregated cluster go together: the decode side speculates. What
/// has keys and values of its own must take the prompts in where they are processed, so that the
/// prefill side needs it too.
pub(super) fn goes_with_sides(
    prefill: Option<&Speculative>,
    decode: Option<&Speculative>,
) -> Result<(), SettingError> {
    const PATH: &str = "engine.speculative";
    const BOTH: &str = "give it in the scenario's `engine`, which applies to both sides";
    match (prefill, decode) {
        (None, None) => Ok(()),
        (Some(_), None) => {
            let expected = "speculation on the decode side too: the prefill side decodes nothing";
            Err(SettingError::new(PATH, "none", expected).help(BOTH))
        }
        (None, Some(decode)) if decode.memory.kv_bytes_per_token == 0 => Ok(()),
        (None, Some(decode)) => {
            let found = format!("{} without the prefill side", decode.settings.draft.name());
            let expected = "the same on both sides: the drafter has a KV cache, which prompts fill";
            Err(SettingError::new(PATH, found, expected).help(BOTH))
        }
        (Some(prefill), Some(decode)) if prefill.settings == decode.settings => Ok(()),
        (Some(_), Some(_)) => {
            let expected = "the same as on the prefill side";
            Err(SettingError::new(PATH, "different", expected).help(BOTH))
        }
    }
}

/// What a scenario says of its drafts.
pub(super) struct Speculated<'a> {
    pub document: &'a Document,
    pub settings: &'a SpeculativeSettings,
    /// What the settings came to.
    pub checked: &'a Checked,
    /// What a timing of the draft model may be.
    pub timings: &'a [Entry<dyn AnyTiming>],
}

/// Builds the drafter and the predictor of passes with drafts. `timing` is the model's, from which
/// `target` was built.
pub(super) fn build(
    speculated: &Speculated<'_>,
    timing: &dyn AnyTiming,
    target: Arc<dyn Predictor>,
    context: &TimingContext<'_>,
) -> Result<Speculative, Box<Diagnostic>> {
    let &Speculated { document, settings, checked, timings } = speculated;
    let draft_model = checked.model;
    const OWN: &str = "engine.speculative.draft_timing";
    let complain =
        |base: &str, error: &SettingError| Box::new(plugins::setting_error(document, base, error));
    let own = match document.node(OWN) {
        Some(_) => Some(plugins::read(document, OWN, timings, None)?),
        None => None,
    };
    if own.is_some() && draft_model.is_none() {
        let error = SettingError::new("", "given", "no timing: only a draft model has one")
            .help("NGram has look_up_ms, Heads have cost_ratio");
        return Err(complain(OWN, &error));
    }
    let drafter = match (&settings.draft, draft_model) {
        (Draft::NGram { look_up_ms }, _) => Drafter::LookUp(Nanos::from_millis_f64(*look_up_ms)),
        (Draft::Heads { layers, cost_ratio }, _) => Drafter::Passes {
            predictor: target.clone(),
            share: cost_ratio.unwrap_or(f64::from(*layers) / f64::from(context.model.layers)),
        },
        (Draft::Model(_), None) => {
            let error = SettingError::new("draft", "unknown", "a built-in model");
            return Err(complain("engine.speculative", &error));
        }
        (Draft::Model(_), Some(model)) => {
            // The engine's work per step is done once, not once per draft.
            let context = TimingContext { model, step_overhead_ms: 0.0, ..*context };
            let build = |timing: &dyn AnyTiming| context.tables.predictor(timing, &context);
            let predictor = match &own {
                Some(own) => build(own.as_ref()).map_err(|error| complain(OWN, &error))?,
                None => build(timing).map_err(|error| {
                    let help = "give the draft model its own timing: draft_timing: Roofline()";
                    Box::new((*complain("timing", &error)).help(help))
                })?,
            };
            Drafter::Passes { predictor, share: 1.0 }
        }
    };
    let predictor = SpeculativePredictor::new(target, drafter, settings.draft.name());
    Ok(Speculative {
        settings: settings.clone(),
        draft_timing: own,
        memory: checked.memory,
        run: Speculation {
            k: settings.k,
            acceptance: settings.acceptance.clone(),
            adaptive: settings.adaptive.clone(),
            predictor: Arc::new(predictor),
        },
    })
}

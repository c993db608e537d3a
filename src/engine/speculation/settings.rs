//! What a scenario says about speculative decoding.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::{Acceptance, Adaptive};
use crate::base::{SettingError, suggest};
use crate::hardware::memory::DraftMemory;
use crate::hardware::model::ModelSpec;
use crate::hardware::{Parallelism, model};

/// More drafts than this are a slip of the pen.
const MOST_DRAFTS: u32 = 64;
/// A longer look-up is a slip of the pen.
const MOST_LOOK_UP_MS: f64 = 1_000.0;

/// `engine.speculative`: what drafts, how many, and how likely they are accepted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SpeculativeSettings {
    /// What proposes tokens.
    pub draft: Draft,
    /// Most drafts per request and step (vLLM's `num_speculative_tokens`).
    pub k: u32,
    /// How likely a draft is accepted, given that those before it were.
    pub acceptance: Acceptance,
    /// How the number of drafts follows the load.
    #[serde(default)]
    pub adaptive: Adaptive,
    /// The timing of a draft model, a plug-in with its settings; the scenario's own if absent.
    #[serde(default, rename = "draft_timing", skip_serializing)]
    pub(crate) _draft_timing: IgnoredAny,
}

/// What proposes tokens.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Draft {
    /// A smaller model of this name on the same GPUs, with its own weights and KV cache.
    Model(String),
    /// A look-up of the last tokens in the prompt and the output (prompt look-up, n-grams).
    NGram {
        /// Milliseconds of CPU time per step that has drafts.
        #[serde(default)]
        look_up_ms: f64,
    },
    /// Small heads on the model's own hidden states, one pass after the other (EAGLE, MTP).
    Heads {
        /// Transformer blocks of a head.
        #[serde(default = "one")]
        layers: u32,
        /// Time of a head's pass, as a share of the model's; its share of the layers if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_ratio: Option<f64>,
    },
}

fn one() -> u32 {
    1
}

impl Draft {
    /// In a few words.
    pub fn name(&self) -> &str {
        match self {
            Draft::Model(name) => name,
            Draft::NGram { .. } => "n-grams",
            Draft::Heads { .. } => "heads",
        }
    }
}

/// Checked settings.
pub(crate) struct Checked {
    /// The draft model, if it is one.
    pub model: Option<&'static ModelSpec>,
    /// What the proposer needs on each GPU.
    pub memory: DraftMemory,
}

/// Keys and values of one token that the proposer holds beside those of `target`, on each GPU.
pub(crate) fn kv_bytes_per_token(draft: &Draft, target: &ModelSpec, parallel: Parallelism) -> u64 {
    match draft {
        Draft::NGram { .. } => 0,
        // A head is a block of the model's kind.
        Draft::Heads { layers, .. } => target.last_layers(*layers).kv_bytes_per_token(parallel),
        Draft::Model(name) => model::find(name).map_or(0, |m| m.kv_bytes_per_token(parallel)),
    }
}

/// Checks the settings for a `target` whose requests have at most `max_model_len` tokens.
///
/// # Errors
/// Names the setting, relative to `engine.speculative`.
pub(crate) fn check(
    settings: &SpeculativeSettings,
    target: &ModelSpec,
    parallel: Parallelism,
    max_model_len: u32,
) -> Result<Checked, SettingError> {
    if settings.k == 0 || settings.k > MOST_DRAFTS {
        return Err(SettingError::new("k", settings.k, format!("1 to {MOST_DRAFTS}"))
            .help("without `speculative` nothing is drafted"));
    }
    settings.acceptance.check(settings.k).map_err(|error| error.within("acceptance"))?;
    settings.adaptive.check(settings.k).map_err(|error| error.within("adaptive"))?;
    let memory = |weight_bytes| DraftMemory {
        weight_bytes,
        kv_bytes_per_token: kv_bytes_per_token(&settings.draft, target, parallel),
        tokens_per_request: settings.k + 1,
    };
    match &settings.draft {
        Draft::NGram { look_up_ms } => {
            if !(0.0..=MOST_LOOK_UP_MS).contains(look_up_ms) {
                let expected = format!("milliseconds, 0 to {MOST_LOOK_UP_MS}");
                return Err(SettingError::new("draft.look_up_ms", look_up_ms, expected));
            }
            Ok(Checked { model: None, memory: memory(0) })
        }
        Draft::Heads { layers, cost_ratio } => {
            if *layers == 0 || *layers > target.layers {
                let expected = format!("1 to {}, the layers of {}", target.layers, target.name);
                return Err(SettingError::new("draft.layers", layers, expected));
            }
            if let Some(ratio) = cost_ratio
                && !(0.0..=1.0).contains(ratio)
            {
                return Err(SettingError::new("draft.cost_ratio", ratio, "0 to 1"));
            }
            // Embedding and LM head are the model's own.
            let (some, none) = (target.last_layers(*layers), target.last_layers(0));
            let weights = some.weight_bytes(parallel) - none.weight_bytes(parallel);
            Ok(Checked { model: None, memory: memory(weights) })
        }
        Draft::Model(name) => {
            let Some(draft) = model::find(name) else {
                let error = SettingError::new("draft", format!("`{name}`"), "a built-in model");
                let near = model::closest(name).or_else(|| suggest::closest(name, model::names()));
                let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
                return Err(error.help(format!("{near}`vidur-ecs list` names the built-in models")));
            };
            if draft.vocab != target.vocab {
                let found = format!("{}, whose vocabulary has {} tokens", draft.name, draft.vocab);
                let expected = format!("a model with the {} of {}", target.vocab, target.name);
                return Err(SettingError::new("draft", found, expected)
                    .help("drafts are verified token by token: both need the same tokenizer"));
            }
            if draft.max_position < max_model_len {
                let found = format!("{}, of up to {} tokens", draft.name, draft.max_position);
                let expected = format!("a model of max_model_len {max_model_len} or more");
                return Err(
                    SettingError::new("draft", found, expected).help("lower engine.max_model_len")
                );
            }
            if let Err(error) = parallel.check(draft) {
                let found = format!("{}, at {} {}", draft.name, error.path, error.found);
                return Err(SettingError::new("draft", found, error.expected)
                    .help("the draft model is spread over the same GPUs"));
            }
            Ok(Checked { model: Some(draft), memory: memory(draft.weight_bytes(parallel)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::find;

    fn settings(draft: Draft) -> SpeculativeSettings {
        SpeculativeSettings {
            draft,
            k: 5,
            acceptance: Acceptance::Same(0.8),
            adaptive: Adaptive::Off,
            _draft_timing: IgnoredAny,
        }
    }

    fn checked(draft: Draft) -> Result<DraftMemory, SettingError> {
        let target = find("Llama-2-70B").unwrap();
        let parallel = Parallelism { tensor: 4, pipeline: 1 };
        check(&settings(draft), target, parallel, 4096).map(|checked| checked.memory)
    }

    #[test]
    fn memory_is_that_of_the_drafter() {
        // 7B: 32 layers x 2 x 8 of 32 heads x 128 x 2 bytes; of 70B one layer has 2 of 8 heads.
        let model = checked(Draft::Model("Llama-2-7B".to_owned())).unwrap();
        assert_eq!(model.kv_bytes_per_token, 32 * 2 * 8 * 128 * 2);
        assert!((3.3e9..3.5e9).contains(&(model.weight_bytes as f64)), "{}", model.weight_bytes);
        let heads = checked(Draft::Heads { layers: 1, cost_ratio: None }).unwrap();
        assert_eq!(heads.kv_bytes_per_token, 2 * 2 * 128 * 2);
        assert!((0.4e9..0.45e9).contains(&(heads.weight_bytes as f64)), "{}", heads.weight_bytes);
        let look_up = checked(Draft::NGram { look_up_ms: 0.1 }).unwrap();
        assert_eq!((look_up.weight_bytes, look_up.kv_bytes_per_token), (0, 0));
        assert_eq!(look_up.tokens_per_request, 6);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let path = |draft| checked(draft).unwrap_err().path;
        let error = checked(Draft::Model("Llama-3-8B".to_owned())).unwrap_err();
        assert!(error.to_owned().help.unwrap().contains("tokenizer"));
        assert_eq!(path(Draft::Model("Lama".to_owned())), "draft");
        assert_eq!(path(Draft::Heads { layers: 81, cost_ratio: None }), "draft.layers");
        assert_eq!(path(Draft::Heads { layers: 1, cost_ratio: Some(-1.0) }), "draft.cost_ratio");
        assert_eq!(path(Draft::NGram { look_up_ms: f64::NAN }), "draft.look_up_ms");
    }
}

//! For what a profile's times were checked against a real engine.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::Profile;
use crate::hardware::Parallelism;
use crate::hardware::model::ModelSpec;

/// What stands for a check in results where there was none.
pub const NOT_CHECKED: &str = "nothing";

/// A model with which simulated times were checked on the profile's device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedWith {
    /// The model, by the name scenarios use.
    pub model: String,
    /// GPUs of a replica (tensor parallelism; no pipeline).
    pub tensor: u32,
}

impl FromStr for CheckedWith {
    type Err = String;

    /// From `Llama-2-7B:1`.
    fn from_str(text: &str) -> Result<CheckedWith, String> {
        let parts = text.rsplit_once(':');
        let found = parts.and_then(|(model, tensor)| Some((model, tensor.parse().ok()?)));
        match found {
            Some((model, tensor)) if !model.is_empty() && tensor > 0 => {
                Ok(CheckedWith { model: model.to_owned(), tensor })
            }
            _ => Err(format!("`{text}`, expected a model and its GPUs, as in `Llama-2-7B:1`")),
        }
    }
}

impl fmt::Display for CheckedWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(model: {:?}, tensor: {})", self.model, self.tensor)
    }
}

impl Profile {
    /// Against what the times of this model on the profile's device were checked; [`NOT_CHECKED`]
    /// unless a model of its family was, unquantised and on as many GPUs.
    pub fn checked_for(&self, model: &ModelSpec, parallel: Parallelism) -> String {
        let same = |with: &CheckedWith| {
            let alike = with.model == *model.name
                || family(&with.model).is_some() && family(&with.model) == family(&model.name);
            alike && with.tensor == parallel.tensor && parallel.pipeline == 1
        };
        match !model.quantized() && self.checked_with.iter().any(same) {
            true if !self.checked_against.is_empty() => self.checked_against.clone(),
            _ => NOT_CHECKED.to_owned(),
        }
    }
}

/// What comes before the size in the name of a dense model: `Llama-2` of `Llama-2-7B`. `None` for
/// names that are made otherwise, such as those of mixtures of experts (`Qwen3-30B-A3B`).
fn family(name: &str) -> Option<&str> {
    let (family, size) = name.rsplit_once('-')?;
    let number = size.strip_suffix('B')?;
    let is_size = number.parse::<f64>().is_ok();
    let mixture = family.rsplit('-').next().is_some_and(|part| part.ends_with('B'));
    (is_size && !mixture).then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model;
    use crate::profile::{Shipped, shipped};

    fn checked(profile: &str, model: &str, tensor: u32, pipeline: u32) -> String {
        let profile: &Shipped = shipped().iter().find(|one| one.name == profile).unwrap();
        let model = model::find(model).unwrap();
        profile.load().unwrap().checked_for(model, Parallelism { tensor, pipeline })
    }

    #[test]
    fn a_check_holds_for_the_models_and_gpus_that_it_was_made_with() {
        let h100 = |model, tensor, pipeline| {
            checked("h100-sxm-80g/operators", model, tensor, pipeline).starts_with("vLLM 0.11")
        };
        assert!(h100("Llama-2-7B", 1, 1) && h100("Llama-2-13B", 1, 1));
        assert!(!h100("Llama-2-7B", 2, 1) && !h100("Llama-2-7B", 1, 2));
        assert!(!h100("Llama-3.1-8B", 1, 1) && !h100("Mixtral-8x7B", 1, 1));
        assert_eq!(checked("a100-sxm-80g/operators", "Llama-2-7B", 1, 1), NOT_CHECKED);
        assert!(checked("a100-sxm-80g/llama-2-7b", "Llama-2-7B", 1, 1).contains("Vidur"));
        let layers = |tensor| checked("rtx-pro-6000/layers-qwen3-32b", "Qwen3-32B", tensor, 1);
        assert!(layers(2).starts_with("vLLM 0.19"));
        assert_eq!(layers(1), NOT_CHECKED);
    }

    #[test]
    fn families_are_of_dense_models() {
        assert_eq!(family("Llama-3.1-8B"), Some("Llama-3.1"));
        assert_eq!((family("Qwen3-30B-A3B"), family("Mixtral-8x7B")), (None, None));
        assert!("Llama-2-7B:1".parse::<CheckedWith>().is_ok());
        assert!(
            "Llama-2-7B".parse::<CheckedWith>().is_err() && ":1".parse::<CheckedWith>().is_err()
        );
    }
}

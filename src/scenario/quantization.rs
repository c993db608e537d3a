//! `quantization`: in how many bits a scenario's model is served.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::SettingError;
use crate::hardware::model::{Groups, KvCache, ModelSpec, Weights};

/// The largest group that makes sense: a whole input channel is `0`.
const LARGEST_GROUP: u32 = 1 << 18;

/// `quantization: (weights: Int4, group_size: 128, kv_cache: Fp8)`; what is left out is as the
/// model has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// How weights are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightFormat>,
    /// Integer weights that share a scale, along the input; 0 for one scale per output channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_size: Option<u32>,
    /// Whether groups have zero points, as AWQ's do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_points: Option<bool>,
    /// How keys and values are stored: vLLM's `kv_cache_dtype`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCache>,
}

/// A weight's number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum WeightFormat {
    /// 16 bits: fp16, or bf16 (`Bf16`).
    #[serde(alias = "Bf16")]
    Fp16,
    /// 8-bit floats.
    Fp8,
    /// 8-bit integers, products of 16 bits (W8A16).
    Int8,
    /// 4-bit integers, products of 16 bits (W4A16: GPTQ, AWQ).
    Int4,
}

impl Quantization {
    /// `model` as it is served.
    ///
    /// # Errors
    /// A setting that makes no sense, or contradicts how the model comes, with its path within
    /// `quantization`.
    pub fn apply(&self, model: Arc<ModelSpec>) -> Result<Arc<ModelSpec>, SettingError> {
        let weights = match self.weights()? {
            None => model.weights,
            Some(weights) if !model.weights.quantized() || model.weights == weights => weights,
            Some(weights) => {
                let expected = format!("what the model's config says, {}", model.weights.label());
                return Err(SettingError::new("weights", weights.label(), expected)
                    .help("leave it out; quantised weights are served as they come"));
            }
        };
        let kv_cache = self.kv_cache.unwrap_or(model.kv_cache);
        Ok(Arc::new(ModelSpec { weights, kv_cache, ..(*model).clone() }))
    }

    /// The weights, unless nothing is said of them.
    fn weights(&self) -> Result<Option<Weights>, SettingError> {
        let integers = matches!(self.weights, Some(WeightFormat::Int8 | WeightFormat::Int4));
        if !integers {
            let expected = "nothing: only Int8 and Int4 weights have groups";
            if let Some(size) = self.group_size {
                return Err(SettingError::new("group_size", size, expected));
            }
            if let Some(zero_points) = self.zero_points {
                return Err(SettingError::new("zero_points", zero_points, expected));
            }
        }
        let size = self.group_size.unwrap_or(Groups::DEFAULT_SIZE);
        if size > LARGEST_GROUP {
            let expected = format!("at most {LARGEST_GROUP}; 0 for one scale per output channel");
            return Err(SettingError::new("group_size", size, expected));
        }
        let groups = Groups {
            size: Some(size).filter(|size| *size > 0),
            zero_points: self.zero_points.unwrap_or(false),
        };
        Ok(self.weights.map(|format| match format {
            WeightFormat::Fp16 => Weights::Half,
            WeightFormat::Fp8 => Weights::Fp8,
            WeightFormat::Int8 => Weights::Int8(groups),
            WeightFormat::Int4 => Weights::Int4(groups),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::find;

    fn served(text: &str, model: &ModelSpec) -> Result<(Weights, KvCache), String> {
        let quantization: Quantization = ron::from_str(&format!("#![enable(implicit_some)]{text}"))
            .map_err(|error| error.to_string())?;
        let model = quantization.apply(Arc::new(model.clone())).map_err(|e| e.to_string())?;
        Ok((model.weights, model.kv_cache))
    }

    #[test]
    fn what_is_left_out_is_as_the_model_has_it() {
        let half = find("Llama-2-70B").unwrap();
        let int4 = |size, zero_points| Weights::Int4(Groups { size, zero_points });
        for (text, expected) in [
            ("()", (Weights::Half, KvCache::Fp16)),
            ("(weights: Bf16, kv_cache: Bf16)", (Weights::Half, KvCache::Fp16)),
            ("(kv_cache: Fp8)", (Weights::Half, KvCache::Fp8)),
            ("(weights: Int4)", (int4(Some(128), false), KvCache::Fp16)),
            ("(weights: Int4, group_size: 0)", (int4(None, false), KvCache::Fp16)),
            (
                "(weights: Int4, group_size: 64, zero_points: true, kv_cache: Int8)",
                (int4(Some(64), true), KvCache::Int8),
            ),
        ] {
            assert_eq!(served(text, half), Ok(expected), "{text}");
        }
    }

    #[test]
    fn nothing_is_accepted_and_ignored() {
        let half = find("Llama-2-70B").unwrap();
        let fp8 = ModelSpec { weights: Weights::Fp8, ..half.clone() };
        for (text, model, message) in [
            ("(group_size: 128)", half, "`group_size` is 128, expected nothing"),
            ("(weights: Fp8, zero_points: true)", half, "`zero_points` is true, expected nothing"),
            ("(weights: Int4, group_size: 4000000000)", half, "`group_size` is 4000000000"),
            ("(weights: Int4)", &fp8, "expected what the model's config says, fp8"),
            ("(weights: Fp16)", &fp8, "expected what the model's config says, fp8"),
            ("(weights: Int3)", half, "Int3"),
        ] {
            let error = served(text, model).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert_eq!(served("(weights: Fp8)", &fp8), Ok((Weights::Fp8, KvCache::Fp16)));
    }
}

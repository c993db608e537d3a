//! Models from a HuggingFace `config.json`.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use super::{KvCache, ModelSpec, Moe, Weights, hf_quantization};

/// A `config.json` that is no description of a model. Messages are whole sentences.
#[derive(Debug, thiserror::Error)]
pub enum HfConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no JSON.
    #[error("{file}: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A key is missing or has an unexpected value.
    #[error("{file}: `{key}` is {found}, expected {expected}")]
    Key {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
}

/// Model families whose MLP has two matrices; all later ones have a gate.
const UNGATED: [&str; 10] = [
    "bloom",
    "falcon",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gptj",
    "mpt",
    "opt",
    "phi",
    "starcoder2",
];
/// Families with a norm on each query and key head.
const HEAD_NORMS: [&str; 5] = ["qwen3", "qwen3_moe", "gemma3_text", "olmo2", "glm4_moe"];
/// Families with a bias on QKV whose config has no key for it.
const QKV_BIAS: [&str; 2] = ["qwen2", "qwen2_moe"];
/// What families call the number of experts.
const EXPERTS: [&str; 3] = ["num_experts", "num_local_experts", "n_routed_experts"];

/// What is more than this is no model: ten times the largest ones, and no product overflows.
const MOST_LAYERS: u64 = 1 << 10;
const MOST_EXPERTS: u64 = 1 << 12;
const MOST_WIDTH: u64 = 1 << 18;
const MOST_TOKENS: u64 = 1 << 28;

impl ModelSpec {
    /// The model described by the HuggingFace `config.json` at `path`, named after its
    /// `_name_or_path`, or after the folder of the file.
    ///
    /// Counted are all blocks as equal; layers without experts in a model that has them, shared
    /// experts and latent attention (MLA) are not described.
    ///
    /// # Errors
    /// The file cannot be read, is no JSON, or a key is missing or no number.
    pub fn from_hf_config(path: &Path) -> Result<ModelSpec, HfConfigError> {
        let file = path.display().to_string();
        let text = crate::base::input::read_to_string(path)
            .map_err(|source| HfConfigError::Io { file: file.clone(), source })?;
        let root: Value = serde_json::from_str(&text)
            .map_err(|source| HfConfigError::Syntax { file: file.clone(), source })?;
        // Multimodal models keep their language model in a section of its own.
        let config = match root.get("text_config") {
            Some(inner) if root.get("num_hidden_layers").is_none() => inner,
            _ => &root,
        };
        Keys { file, root: &root, config }.spec(path)
    }
}

struct Keys<'a> {
    file: String,
    root: &'a Value,
    config: &'a Value,
}

impl Keys<'_> {
    fn spec(&self, path: &Path) -> Result<ModelSpec, HfConfigError> {
        let family = self.config.get("model_type").and_then(Value::as_str).unwrap_or("");
        if self.config.get("kv_lora_rank").is_some_and(|rank| !rank.is_null()) {
            return Err(self.wrong("kv_lora_rank", "no key: latent attention is not modelled"));
        }
        let hidden = self.required(&["hidden_size", "n_embd"])?;
        let q_heads = self.required(&["num_attention_heads", "n_head"])?;
        let head_dim = match self.optional(&["head_dim"])? {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(q_heads) => hidden / q_heads,
            None => {
                return Err(self.wrong("head_dim", "a number: the heads do not divide the width"));
            }
        };
        let experts = self.experts()?;
        let intermediate = match (self.optional(&["intermediate_size", "n_inner"])?, experts) {
            (Some(width), _) => width,
            (None, Some(moe)) => moe.moe_intermediate,
            // GPT-2's convention.
            (None, None) => 4 * hidden,
        };
        let (weights, kv_cache) = self.precision()?;
        let spec = ModelSpec {
            name: Cow::Owned(self.name(path)),
            layers: self.required(&["num_hidden_layers", "n_layer"])?,
            hidden,
            q_heads,
            kv_heads: self.optional(&["num_key_value_heads", "num_kv_heads"])?.unwrap_or(q_heads),
            head_dim,
            intermediate,
            gated_mlp: !UNGATED.contains(&family),
            vocab: self.required(&["vocab_size"])?,
            tie_word_embeddings: self.flag("tie_word_embeddings").unwrap_or(false),
            max_position: self.required(&["max_position_embeddings", "n_positions"])?,
            post_attn_norm: self.flag("parallel_attn") != Some(true),
            qk_norm: HEAD_NORMS.contains(&family),
            qkv_bias: self.flag("attention_bias").unwrap_or_else(|| QKV_BIAS.contains(&family)),
            experts,
            dtype_bytes: self.dtype_bytes()?,
            weights,
            kv_cache,
        };
        self.plausible(&spec)?;
        Ok(spec)
    }

    /// Whether numbers are those of a model, and small enough to be multiplied with one another.
    fn plausible(&self, spec: &ModelSpec) -> Result<(), HfConfigError> {
        let width = |heads: u32| u64::from(heads) * u64::from(spec.head_dim);
        let most = [
            (&["num_hidden_layers", "n_layer"][..], u64::from(spec.layers), MOST_LAYERS),
            (&["hidden_size", "n_embd"], u64::from(spec.hidden), MOST_WIDTH),
            (&["num_attention_heads", "n_head"], u64::from(spec.q_heads), MOST_WIDTH),
            (&["head_dim"], width(spec.q_heads), MOST_WIDTH),
            (&["intermediate_size", "n_inner"], u64::from(spec.intermediate), MOST_WIDTH),
            (&["vocab_size"], u64::from(spec.vocab), MOST_TOKENS),
            (&["max_position_embeddings", "n_positions"], spec.max_position.into(), MOST_TOKENS),
        ];
        for (keys, value, limit) in most {
            if value > limit {
                return Err(self.wrong(self.written(keys), &format!("at most {limit}")));
            }
        }
        if spec.kv_heads > spec.q_heads || !spec.q_heads.is_multiple_of(spec.kv_heads) {
            let expected = format!("a divisor of the {} query heads", spec.q_heads);
            let key = self.written(&["num_key_value_heads", "num_kv_heads"]);
            return Err(self.wrong(key, &expected));
        }
        let Some(moe) = spec.experts else { return Ok(()) };
        if u64::from(moe.experts) > MOST_EXPERTS {
            return Err(self.wrong(self.written(&EXPERTS), &format!("at most {MOST_EXPERTS}")));
        }
        if u64::from(moe.moe_intermediate) > MOST_WIDTH {
            let expected = format!("at most {MOST_WIDTH}");
            return Err(self.wrong(self.written(&["moe_intermediate_size"]), &expected));
        }
        if moe.experts_per_token > moe.experts {
            let expected = format!("at most the {} experts", moe.experts);
            return Err(self.wrong("num_experts_per_tok", &expected));
        }
        Ok(())
    }

    /// The key of `keys` that the config has, or the first.
    fn written<'a>(&self, keys: &[&'a str]) -> &'a str {
        keys.iter().find(|key| self.get(key).is_some()).unwrap_or(&keys[0])
    }

    fn experts(&self) -> Result<Option<Moe>, HfConfigError> {
        let Some(experts) = self.optional(&EXPERTS)?.filter(|experts| *experts > 1) else {
            return Ok(None);
        };
        Ok(Some(Moe {
            experts,
            experts_per_token: self.required(&["num_experts_per_tok"])?,
            moe_intermediate: self.required(&["moe_intermediate_size", "intermediate_size"])?,
        }))
    }

    fn dtype_bytes(&self) -> Result<f64, HfConfigError> {
        let key = if self.config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        match self.get(key).and_then(Value::as_str) {
            None | Some("bfloat16" | "float16" | "auto") => Ok(2.0),
            // Engines serve fp32 checkpoints in half precision.
            Some("float32") => Ok(2.0),
            Some(_) => Err(self.wrong(key, "bfloat16, float16 or float32")),
        }
    }

    /// How weights and KV cache are stored.
    fn precision(&self) -> Result<(Weights, KvCache), HfConfigError> {
        const KEY: &str = "quantization_config";
        match self.get(KEY) {
            None | Some(Value::Null) => Ok((Weights::Half, KvCache::Fp16)),
            Some(config) => {
                hf_quantization::read(config).map_err(|expected| self.wrong(KEY, &expected))
            }
        }
    }

    fn name(&self, path: &Path) -> String {
        let written = self.root.get("_name_or_path").and_then(Value::as_str).unwrap_or("");
        let printable = !written.is_empty() && !written.contains(char::is_control);
        if printable && !Path::new(written).is_absolute() {
            return written.to_owned();
        }
        let folder = path.parent().and_then(Path::file_name);
        folder.or(path.file_stem()).unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.config.get(key).or_else(|| self.root.get(key))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// The first of `keys` that is there.
    fn optional(&self, keys: &[&str]) -> Result<Option<u32>, HfConfigError> {
        for key in keys {
            match self.get(key) {
                None | Some(Value::Null) => {}
                Some(value) => {
                    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                    return match number.filter(|number| *number > 0) {
                        Some(number) => Ok(Some(number)),
                        None => Err(self.wrong(key, "a whole number, 1 or more")),
                    };
                }
            }
        }
        Ok(None)
    }

    fn required(&self, keys: &[&str]) -> Result<u32, HfConfigError> {
        match self.optional(keys)? {
            Some(number) => Ok(number),
            None => Err(self.wrong(keys[0], "a whole number, 1 or more")),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> HfConfigError {
        HfConfigError::Key {
            file: self.file.clone(),
            key: key.to_owned(),
            found: self.get(key).map_or_else(|| "missing".to_owned(), Value::to_string),
            expected: expected.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::find;

    fn read(json: &str) -> Result<ModelSpec, HfConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        ModelSpec::from_hf_config(&path)
    }

    /// The named built-in model's shape comes out of its config.
    fn same(json: &str, name: &str) {
        let spec = ModelSpec { name: Cow::Borrowed("x"), ..read(json).unwrap() };
        assert_eq!(spec, ModelSpec { name: Cow::Borrowed("x"), ..find(name).unwrap().clone() });
    }

    #[test]
    fn dense_models_are_read() {
        same(
            r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "vocab_size": 128256, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
            "tie_word_embeddings": false, "attention_bias": false}"#,
            "Llama-3.1-8B",
        );
        same(
            r#"{"model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584,
            "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944,
            "vocab_size": 152064, "max_position_embeddings": 32768, "torch_dtype": "bfloat16"}"#,
            "Qwen2.5-7B",
        );
    }

    #[test]
    fn experts_are_read_under_each_familys_keys() {
        same(
            r#"{"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048,
            "num_attention_heads": 32, "num_key_value_heads": 4, "intermediate_size": 6144,
            "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
            "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
            "attention_bias": false, "dtype": "bfloat16"}"#,
            "Qwen3-30B-A3B",
        );
        same(
            r#"{"model_type": "mixtral", "num_hidden_layers": 32, "hidden_size": 4096,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "num_local_experts": 8, "num_experts_per_tok": 2, "head_dim": null,
            "vocab_size": 32000, "max_position_embeddings": 32768}"#,
            "Mixtral-8x7B",
        );
    }

    #[test]
    fn quantised_weights_are_smaller() {
        let spec = read(
            r#"{"_name_or_path": "a/b", "text_config": {"num_hidden_layers": 2,
            "hidden_size": 64, "num_attention_heads": 2, "vocab_size": 10,
            "max_position_embeddings": 100, "intermediate_size": 128},
            "quantization_config": {"quant_method": "fp8"}}"#,
        )
        .unwrap();
        assert_eq!((spec.name.as_ref(), spec.head_dim, spec.kv_heads), ("a/b", 32, 2));
        assert_eq!(
            (spec.dtype_bytes, spec.weights, spec.kv_cache),
            (2.0, Weights::Fp8, KvCache::Fp16)
        );
    }

    #[test]
    fn errors_name_the_key() {
        let message = |json: &str| read(json).unwrap_err().to_string();
        assert!(
            message("{}").ends_with("`hidden_size` is missing, expected a whole number, 1 or more")
        );
        assert!(message(r#"{"hidden_size": "x"}"#).contains("`hidden_size` is \"x\""));
        assert!(message("{").contains("config.json: EOF"));
        assert!(message(r#"{"kv_lora_rank": 512}"#).contains("latent attention"));
        assert!(message("[1]").contains("`hidden_size` is missing"));
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |from: &str, to: &str| {
            let good = r#"{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
                "num_key_value_heads": 2, "vocab_size": 10, "max_position_embeddings": 100,
                "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}"#;
            read(good).unwrap();
            assert!(good.contains(from), "{from}");
            read(&good.replace(from, to)).unwrap_err().to_string()
        };
        for (from, to, expected) in [
            (
                "\"hidden_size\": 64",
                "\"hidden_size\": -64",
                "`hidden_size` is -64, expected a whole",
            ),
            ("\"hidden_size\": 64", "\"hidden_size\": 66", "the heads do not divide the width"),
            (
                "_layers\": 2",
                "_layers\": 4000000000",
                "`num_hidden_layers` is 4000000000, expected at most",
            ),
            ("_value_heads\": 2", "_value_heads\": 3", "expected a divisor of the 4 query heads"),
            ("per_tok\": 2", "per_tok\": 5", "expected at most the 4 experts"),
            ("experts\": 4", "experts\": 5000", "`num_experts` is 5000, expected at most 4096"),
            (
                "\"vocab",
                "\"head_dim\": 1000000, \"vocab",
                "`head_dim` is 1000000, expected at most",
            ),
            (
                "\"vocab",
                "\"quantization_config\": {\"bits\": 1e300}, \"vocab",
                "expected weights of 4 or 8 bits",
            ),
        ] {
            let message = with(from, to);
            assert!(message.contains(expected), "{message}");
        }
    }
}

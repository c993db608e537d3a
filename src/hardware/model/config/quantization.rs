//! How weights and KV cache are stored: the `quantization_config` of a config, or a file beside it.

use std::path::Path;

use serde_json::Value;

use super::keys::Keys;
use crate::base::{Diagnostic, JsonDocument, Place, shortened};
use crate::hardware::model::{Groups, KvCache, ModelSpec, Weights};

/// What is said where no other message fits.
const EXPECTED: &str = "weights of 4 or 8 bits, fp8 or mxfp4 are modelled";
/// The key in a config.
const KEY: &str = "quantization_config";
/// Files beside a config that hold what it leaves out: ModelOpt's, AutoAWQ's and AutoGPTQ's.
const SIDECARS: [&str; 3] = ["hf_quant_config.json", "quant_config.json", "quantize_config.json"];

/// Keys of a quantisation that change no number of bits.
const HARMLESS: [&str; 30] = [
    "_load_in_4bit",
    "_load_in_8bit",
    "activation_scheme",
    "activation_scale_ub",
    "actorder",
    "backend",
    "checkpoint_format",
    "damp_percent",
    "damp_auto_increment",
    "desc_act",
    "exllama_config",
    "fmt",
    "format",
    "fuse_max_seq_len",
    "global_compression_ratio",
    "is_marlin_format",
    "meta",
    "model_file_base_name",
    "model_name_or_path",
    "module_name_or_path",
    "model_seqlen",
    "producer",
    "quantization_status",
    "scale_fmt",
    "static_groups",
    "tokenizer",
    "true_sequential",
    "use_exllama",
    "version",
    "do_fuse",
];

/// A quantisation as it is written, and where.
struct Written<'a> {
    keys: &'a Keys<'a>,
    config: &'a Value,
    /// The path of `config` in its file, and what messages and `allow_unmodelled` call it.
    path: &'a str,
    /// The file, where it is not the config's own.
    file: Option<&'a JsonDocument>,
}

/// Reads it into `spec`. What is not modelled is noted, and weights stay in 16 bits then.
///
/// # Errors
/// A file beside the config cannot be read.
pub(super) fn read(keys: &Keys, path: &Path, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    // What is quantised is the whole model, vision and all; some configs say it of their text.
    if let Some(config) = keys.get(KEY) {
        Written { keys, config, path: KEY, file: None }.read(spec);
        return Ok(());
    }
    for name in SIDECARS {
        let file = path.with_file_name(name);
        if file.is_file() {
            let document = JsonDocument::read(&file)?;
            Written { keys, config: document.value(), path: name, file: Some(&document) }
                .read(spec);
            return Ok(());
        }
    }
    Ok(())
}

impl Written<'_> {
    fn read(&self, spec: &mut ModelSpec) {
        // ModelOpt's own file has a section.
        if let Some(inner) = self.config.get("quantization").filter(|inner| inner.is_object()) {
            let path = format!("{}.quantization", self.path);
            return Written { config: inner, path: &path, ..*self }.read(spec);
        }
        let method = self.text("quant_method");
        let read = match method {
            _ if self.config.get("quant_algo").is_some() => self.modelopt(),
            Some("modelopt" | "modelopt_fp4") => self.compressed_tensors(),
            Some("compressed-tensors") => self.compressed_tensors(),
            Some("fp8" | "fbgemm_fp8") => Ok((Weights::Fp8, KvCache::Fp16)),
            Some("mxfp4") => Ok((Weights::Mxfp4, KvCache::Fp16)),
            Some(
                "awq" | "gptq" | "gptq_marlin" | "awq_marlin" | "auto-round" | "intel/auto-round",
            )
            | None => self.integers_by_bits().map(|weights| (weights, KvCache::Fp16)),
            Some(_) => self
                .integers_by_bits()
                .map(|weights| (weights, KvCache::Fp16))
                .map_err(|_| ("quant_method", EXPECTED.to_owned())),
        };
        match read {
            Ok((weights, kv_cache)) => {
                spec.weights = weights;
                spec.kv_cache = kv_cache;
                spec.weight_block = self.block();
                self.exceptions();
                self.leftover();
            }
            Err((key, why)) => self.not_modelled(key, &why),
        }
    }

    /// ModelOpt: one algorithm for all layers, by its name.
    fn modelopt(&self) -> Read {
        let kv_cache = match self.text("kv_cache_quant_algo") {
            None => self.kv_cache_scheme()?,
            Some("FP8") => KvCache::Fp8,
            Some("INT8") => KvCache::Int8,
            Some(_) => return Err(("kv_cache_quant_algo", "a KV cache of 8 bits is".to_owned())),
        };
        let group = self.groups(false)?;
        let weights = match self.text("quant_algo") {
            None => Weights::Half,
            Some("FP8" | "FP8_PER_CHANNEL_PER_TOKEN") => Weights::Fp8,
            Some("W4A16_AWQ" | "W4A16") => Weights::Int4(group),
            Some("W8A16" | "W8A16_AWQ") => Weights::Int8(group),
            Some(_) => return Err(("quant_algo", EXPECTED.to_owned())),
        };
        Ok((weights, kv_cache))
    }

    /// `config_groups` of which one is used, as llm-compressor writes them.
    fn compressed_tensors(&self) -> Read {
        const GROUPS: &str = "config_groups";
        let groups = self.config.get(GROUPS).and_then(Value::as_object);
        let Some(group) = groups.and_then(|groups| groups.values().next()) else {
            return Err((GROUPS, "a group of weights is missing".to_owned()));
        };
        if groups.is_some_and(|groups| groups.len() > 1) {
            return Err((GROUPS, "several groups of weights in different formats".to_owned()));
        }
        let everything = |targets: &Value| {
            targets.as_array().is_some_and(|targets| targets.iter().all(|one| one == "Linear"))
        };
        if group.get("targets").is_some_and(|targets| !everything(targets)) {
            return Err((GROUPS, "weights that are quantised in part".to_owned()));
        }
        let Some(scheme) = group.get("weights") else {
            return Err((GROUPS, "`weights` are missing in its group".to_owned()));
        };
        let bits = scheme.get("num_bits").and_then(Value::as_u64);
        let activations = group.get("input_activations").is_some_and(|inputs| !inputs.is_null());
        let weights = match (bits, is_float(scheme), activations) {
            (Some(8), true, _) => Weights::Fp8,
            (_, true, _) => return Err((GROUPS, EXPECTED.to_owned())),
            (_, false, true) => {
                let why = "products of integers; activations of 16 bits are modelled".to_owned();
                return Err((GROUPS, why));
            }
            (bits, false, false) => {
                let symmetric = scheme.get("symmetric").and_then(Value::as_bool) != Some(false);
                let inner = Written { config: scheme, ..*self };
                integers(bits, inner.groups(!symmetric)?).ok_or((GROUPS, EXPECTED.to_owned()))?
            }
        };
        Ok((weights, self.kv_cache_scheme()?))
    }

    fn kv_cache_scheme(&self) -> Result<KvCache, Refused> {
        const SCHEME: &str = "kv_cache_scheme";
        match self.config.get(SCHEME).filter(|scheme| !scheme.is_null()) {
            None => Ok(KvCache::Fp16),
            Some(scheme) => {
                match (scheme.get("num_bits").and_then(Value::as_u64), is_float(scheme)) {
                    (Some(8), true) => Ok(KvCache::Fp8),
                    (Some(8), false) => Ok(KvCache::Int8),
                    _ => Err((SCHEME, "a KV cache of 8 bits is".to_owned())),
                }
            }
        }
    }

    /// Integers of as many bits as are named.
    fn integers_by_bits(&self) -> Result<Weights, Refused> {
        let bits = self.first(&["bits", "weight_bits", "w_bit"]).and_then(Value::as_u64);
        let zero_points = match self.first(&["zero_point"]).and_then(Value::as_bool) {
            Some(zero_point) => zero_point,
            // GPTQ says the opposite. Symmetric weights carry no zero points that a kernel reads.
            None => self.config.get("sym").and_then(Value::as_bool) == Some(false),
        };
        integers(bits, self.groups(zero_points)?).ok_or(("bits", EXPECTED.to_owned()))
    }

    /// The groups of integer weights; -1 stands for whole channels.
    fn groups(&self, zero_points: bool) -> Result<Groups, Refused> {
        let size = match self.first(&["group_size", "q_group_size"]) {
            None => Some(Groups::DEFAULT_SIZE),
            Some(value) if value.as_i64() == Some(-1) => None,
            Some(value) => {
                let size = value.as_u64().and_then(|size| u32::try_from(size).ok());
                let why = "sizes of 1 or more are, and -1 for whole channels".to_owned();
                Some(size.filter(|size| *size > 0).ok_or(("group_size", why))?)
            }
        };
        // compressed-tensors names no size for whole channels.
        let channels = self.text("strategy") == Some("channel");
        Ok(Groups { size: size.filter(|_| !channels), zero_points })
    }

    /// Blocks of 8-bit floats.
    fn block(&self) -> Option<(u32, u32)> {
        let sizes = self.config.get("weight_block_size")?.as_array()?;
        let size = |index: usize| {
            let size = sizes.get(index)?.as_u64()?;
            u32::try_from(size).ok().filter(|size| *size > 0)
        };
        Some((size(0)?, size(1)?))
    }

    /// Notes matrices that stay in 16 bits although they are counted as quantised.
    fn exceptions(&self) {
        for key in ["modules_to_not_convert", "ignored_layers", "exclude_modules", "ignore"] {
            let modules = self.config.get(key).and_then(Value::as_array).into_iter().flatten();
            let names = modules.filter_map(Value::as_str);
            if let Some(name) = names.into_iter().find(|name| matters(name)) {
                let name = shortened(&Value::String(name.to_owned()));
                self.not_modelled(key, &format!("matrices such as {name} in 16 bits"));
            }
        }
    }

    /// Notes keys that are not understood.
    fn leftover(&self) {
        const READ: [&str; 22] = [
            "quant_method",
            "quant_algo",
            "kv_cache_quant_algo",
            "bits",
            "weight_bits",
            "w_bit",
            "zero_point",
            "sym",
            "group_size",
            "q_group_size",
            "weight_block_size",
            "config_groups",
            "kv_cache_scheme",
            "modules_to_not_convert",
            "ignored_layers",
            "exclude_modules",
            "ignore",
            "targets",
            "weights",
            "strategy",
            "quantization",
            "has_zero_point",
        ];
        for (key, value) in self.config.as_object().into_iter().flatten() {
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(keys) => keys.is_empty(),
                Value::Array(values) => values.is_empty(),
                _ => false,
            };
            if !empty && !READ.contains(&key.as_str()) && !HARMLESS.contains(&key.as_str()) {
                self.not_modelled(key, "a key that is not understood and may change weights");
            }
        }
    }

    fn not_modelled(&self, key: &str, why: &str) {
        let name = format!("{}.{key}", self.path);
        let found = self.config.get(key).map_or_else(|| "missing".to_owned(), shortened);
        self.keys.not_modelled_at(&name, format!("it is {found}; {why}"), self.place(key));
    }

    fn place(&self, key: &str) -> Place {
        match self.file {
            None => self.keys.place(&format!("{}.{key}", self.path)),
            Some(document) => {
                // The first part is the file's name.
                let inner = self.path.split('.').skip(2).chain([key]);
                document.place(&inner.collect::<Vec<_>>())
            }
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    /// The first of `keys` that is there and not null.
    fn first(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().find_map(|key| self.config.get(key).filter(|value| !value.is_null()))
    }
}

/// A key, and why it is not modelled.
type Refused = (&'static str, String);
type Read = Result<(Weights, KvCache), Refused>;

fn integers(bits: Option<u64>, groups: Groups) -> Option<Weights> {
    match bits {
        Some(4) => Some(Weights::Int4(groups)),
        Some(8) => Some(Weights::Int8(groups)),
        Some(16) => Some(Weights::Half),
        _ => None,
    }
}

fn is_float(scheme: &Value) -> bool {
    scheme.get("type").and_then(Value::as_str) == Some("float")
}

/// Whether a module that is left out of a quantisation is a matrix of a block: embedding, LM head,
/// norms, biases and routers stay in 16 bits anyway, and what is no part of the language model is
/// not counted.
fn matters(module: &str) -> bool {
    const NOT_COUNTED: [&str; 7] =
        ["visual", "vision", "audio", "multi_modal_projector", "mtp", "image", "patch_merge_mlp"];
    const IN_16_BITS: [&str; 9] =
        ["lm_head", "embed_tokens", "embed", "wte", "head", "gate", "router", "bias", "norm"];
    let plain = module.trim_start_matches("re:").replace("\\.", ".");
    let mut parts = plain.split(['.', '*', '$', '^', '/']).filter(|part| !part.is_empty());
    if plain.split('.').any(|part| NOT_COUNTED.iter().any(|name| part.contains(name))) {
        return false;
    }
    let last = parts.next_back().unwrap_or_default();
    !(IN_16_BITS.contains(&last) || last.ends_with("norm") || last.ends_with("bias"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Source;

    /// What is read, or the keys that are not modelled.
    fn of(json: &str) -> Result<(Weights, KvCache), String> {
        let text = format!("{{\"quantization_config\": {json}}}");
        let document = JsonDocument::parse(Source::new("c", text)).unwrap();
        let keys = Keys::new(&document);
        let mut spec = crate::hardware::model::find("Llama-2-7B").unwrap().clone();
        read(&keys, Path::new("/nowhere/config.json"), &mut spec).unwrap();
        match keys.take_unmodelled().first() {
            None => Ok((spec.weights, spec.kv_cache)),
            Some(one) => Err(format!("{}: {}", one.key, one.why)),
        }
    }

    fn int4(size: Option<u32>, zero_points: bool) -> Weights {
        Weights::Int4(Groups { size, zero_points })
    }

    #[test]
    fn the_usual_methods_are_read() {
        for (json, expected) in [
            // TheBloke/Llama-2-70B-GPTQ, TheBloke/Llama-2-70B-AWQ.
            (
                r#"{"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true}"#,
                int4(Some(128), false),
            ),
            (
                r#"{"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true}"#,
                int4(Some(128), true),
            ),
            (r#"{"bits": 4, "group_size": -1}"#, int4(None, false)),
            (
                r#"{"quant_method": "gptq", "bits": 8, "group_size": 64, "sym": false}"#,
                Weights::Int8(Groups { size: Some(64), zero_points: true }),
            ),
            (r#"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#, Weights::Fp8),
            (r#"{"quant_method": "mxfp4"}"#, Weights::Mxfp4),
            (
                r#"{"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]}"#,
                Weights::Fp8,
            ),
        ] {
            assert_eq!(of(json), Ok((expected, KvCache::Fp16)), "{json}");
        }
    }

    #[test]
    fn compressed_tensors_are_read() {
        let config = |weights: &str, inputs: &str, kv: &str| {
            of(&format!(
                r#"{{"quant_method": "compressed-tensors", "kv_cache_scheme": {kv}, "config_groups":
                {{"group_0": {{"weights": {weights}, "input_activations": {inputs}}}}}}}"#
            ))
        };
        let fp8 = r#"{"num_bits": 8, "type": "float", "strategy": "tensor"}"#;
        assert_eq!(config(fp8, fp8, fp8), Ok((Weights::Fp8, KvCache::Fp8)));
        let grouped = r#"{"num_bits": 4, "type": "int", "group_size": 128, "symmetric": true}"#;
        assert_eq!(config(grouped, "null", "null"), Ok((int4(Some(128), false), KvCache::Fp16)));
        let channel = r#"{"num_bits": 8, "type": "int", "strategy": "channel"}"#;
        let whole = Groups { size: None, zero_points: false };
        assert_eq!(config(channel, "null", "null"), Ok((Weights::Int8(whole), KvCache::Fp16)));
        assert!(config(channel, channel, "null").unwrap_err().contains("16 bits"));
    }

    #[test]
    fn what_is_not_modelled_is_noted() {
        for (json, key) in [
            (r#"{"quant_method": "gptq", "bits": 3}"#, "bits"),
            (r#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#, "quant_method"),
            (r#"{"bits": 4, "group_size": 0}"#, "group_size"),
            (r#"{"bits": 1e300}"#, "bits"),
            (r#"{"quant_method": "compressed-tensors"}"#, "config_groups"),
            (r#"{"quant_method": "modelopt", "quant_algo": "NVFP4"}"#, "quant_algo"),
            (
                r#"{"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}"#,
                "modules_to_not_convert",
            ),
            (r#"{"quant_method": "fp8", "mystery": 3}"#, "mystery"),
            (
                r#"{"quant_method": "compressed-tensors", "config_groups": {"a": {"targets":
                ["re:.*mlp.*"], "weights": {"num_bits": 8, "type": "float"}}}}"#,
                "config_groups",
            ),
            ("3", "bits"),
        ] {
            let refused = of(json).unwrap_err();
            assert!(refused.starts_with(&format!("quantization_config.{key}: ")), "{refused}");
        }
    }

    #[test]
    fn modules_in_16_bits_anyway_are_no_exceptions() {
        for name in [
            "model.embed_tokens",
            "re:.*lm_head",
            "model.layers.0.mlp.gate",
            "re:.*mlp.gate$",
            "model.layers.3.input_layernorm",
            "e_score_correction_bias",
            "visual.blocks.0.attn.qkv",
            "mtp.fc",
        ] {
            assert!(!matters(name), "{name}");
        }
        for name in ["model.layers.*.self_attn", "model.layers.0*", "re:.*down_proj", "gate_proj"] {
            assert!(matters(name), "{name}");
        }
    }
}

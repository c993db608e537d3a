//! How weights and KV cache are stored: the `quantization_config` of a config, or a file beside it.

use std::path::Path;

use serde_json::Value;

use super::keys::Keys;
use super::modules::Modules;
use crate::base::{Diagnostic, JsonDocument, Place, shortened};
use crate::hardware::model::{Groups, KvCache, Weights};

/// What is said where no other message fits.
const EXPECTED: &str =
    "weights of 4 or 8 bits are modelled: integers, fp8, mxfp8, mxfp4, nvfp4, nf4";
/// The key in a config.
const KEY: &str = "quantization_config";
/// Files beside a config that hold what it leaves out: ModelOpt's, AutoAWQ's and AutoGPTQ's.
const SIDECARS: [&str; 3] = ["hf_quant_config.json", "quant_config.json", "quantize_config.json"];
/// Keys with modules that stay in 16 bits.
const EXCEPTIONS: [&str; 6] = [
    "modules_to_not_convert",
    "ignored_layers",
    "exclude_modules",
    "ignore",
    "llm_int8_skip_modules",
    "modules_in_block_to_quantize_except",
];

/// Keys of a quantisation that change no number of bits.
const HARMLESS: [&str; 36] = [
    "_load_in_4bit",
    "_load_in_8bit",
    "activation_scheme",
    "activation_scale_ub",
    "actorder",
    "backend",
    "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage",
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
    "llm_int8_enable_fp32_cpu_offload",
    "llm_int8_has_fp16_weight",
    "llm_int8_threshold",
    "lm_head",
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

/// How a checkpoint stores each of its matrices.
#[derive(Debug, Default)]
pub(in crate::hardware::model) struct Scheme {
    /// Matrices that are stored in a way of their own; the first that fits holds.
    rules: Vec<(Modules, Weights)>,
    /// Matrices that stay in 16 bits, unless a rule names them.
    exceptions: Modules,
    /// All other matrices of layers.
    default: Weights,
    /// Only experts are stored in that way.
    experts_only: bool,
    /// Blocks of 8-bit floats.
    pub block: Option<(u32, u32)>,
    /// Keys and values.
    pub kv_cache: KvCache,
}

impl Scheme {
    /// How the matrix of this module is stored; `name` starts with `layers.` within a layer.
    pub fn of(&self, name: &str, expert: bool) -> Weights {
        if let Some((_, weights)) = self.rules.iter().find(|(modules, _)| contain(modules, name)) {
            return *weights;
        }
        let plain = !name.starts_with("layers.") || (self.experts_only && !expert);
        if plain || contain(&self.exceptions, name) { Weights::Half } else { self.default }
    }

    /// Modules are stored in this way if others are not in 16 bits either (DeepSeek-V4).
    pub fn set_modules(&mut self, module: &str, weights: Weights) {
        if let (true, Ok(modules)) = (self.default.quantized(), Modules::new([module])) {
            self.rules.push((modules, weights));
        }
    }
}

/// Whether modules contain this one, under whatever name, or the matrix that it is a part of.
fn contain(modules: &Modules, name: &str) -> bool {
    const OTHER_NAMES: [(&str, &str); 8] = [
        ("q_proj", "qkv_proj"),
        ("k_proj", "qkv_proj"),
        ("v_proj", "qkv_proj"),
        ("gate_proj", "gate_up_proj"),
        ("up_proj", "gate_up_proj"),
        ("gate_proj", "w1"),
        ("up_proj", "w3"),
        ("down_proj", "w2"),
    ];
    let listed = |name: &str| {
        modules.contain(name)
            || OTHER_NAMES.iter().any(|(part, whole)| {
                name.strip_suffix(part).is_some_and(|rest| {
                    rest.ends_with('.') && modules.contain(&format!("{rest}{whole}"))
                })
            })
    };
    // An MLP beside experts may have the name of all MLPs.
    let mlp = name.replace(".block_sparse_moe.", ".mlp.");
    listed(name) || (mlp != name && listed(&mlp))
}

/// A quantisation as it is written, and where.
struct Written<'a> {
    keys: &'a Keys<'a>,
    config: &'a Value,
    /// The path of `config` in its file, and what messages and `allow_unmodelled` call it.
    path: &'a str,
    /// The file, where it is not the config's own.
    file: Option<&'a JsonDocument>,
}

/// The scheme of a config. What is not modelled is noted, and weights stay in 16 bits then.
///
/// # Errors
/// A file beside the config cannot be read.
pub(in crate::hardware::model) fn read(
    keys: &Keys,
    path: &Path,
) -> Result<Scheme, Box<Diagnostic>> {
    // What is quantised is the whole model, vision and all; some configs say it of their text.
    if let Some(config) = keys.get(KEY) {
        let written = Written { keys, config, path: KEY, file: None };
        let mut scheme = written.read();
        // Some configs leave what they say of the cache to the file beside.
        if scheme.kv_cache == KvCache::Fp16
            && let Some(beside) = beside(keys, path)?
        {
            scheme.kv_cache = beside.kv_cache;
        }
        return Ok(scheme);
    }
    Ok(beside(keys, path)?.unwrap_or_default())
}

/// The scheme of the file beside the config, if there is one.
fn beside(keys: &Keys, path: &Path) -> Result<Option<Scheme>, Box<Diagnostic>> {
    let there = |name: &&str| path.file_name().is_some() && path.with_file_name(name).is_file();
    let Some(name) = SIDECARS.into_iter().find(there) else {
        return Ok(None);
    };
    let document = JsonDocument::read(&path.with_file_name(name))?;
    let config = document.value();
    Ok(Some(Written { keys, config, path: name, file: Some(&document) }.read()))
}

impl Written<'_> {
    fn read(&self) -> Scheme {
        // ModelOpt's own file has a section.
        if let Some(inner) = self.config.get("quantization").filter(|inner| inner.is_object()) {
            let path = format!("{}.quantization", self.path);
            return Written { config: inner, path: &path, ..*self }.read();
        }
        match self.scheme() {
            Ok(scheme) => {
                self.leftover();
                scheme
            }
            Err((key, why)) => {
                self.not_modelled(key, &why);
                Scheme::default()
            }
        }
    }

    fn scheme(&self) -> Result<Scheme, Refused> {
        let method = self.text("quant_method");
        let mut scheme = Scheme { block: self.block(), ..Scheme::default() };
        scheme.exceptions = self.exceptions()?;
        scheme.kv_cache = self.kv_cache()?;
        match method {
            _ if self.config.get("quant_algo").is_some() => self.modelopt(&mut scheme)?,
            Some("modelopt" | "modelopt_fp4" | "compressed-tensors") => {
                self.compressed_tensors(&mut scheme)?;
            }
            Some("fp8" | "fbgemm_fp8") => scheme.default = Weights::Fp8,
            // Experts alone, as the only model that was published in it has it.
            Some("mxfp4") => (scheme.default, scheme.experts_only) = (Weights::Mxfp4, true),
            Some("bitsandbytes") => scheme.default = self.bitsandbytes()?,
            Some(
                "awq" | "gptq" | "gptq_marlin" | "awq_marlin" | "auto-round" | "intel/auto-round",
            )
            | None => scheme.default = self.integers_by_bits()?,
            Some(_) => {
                scheme.default =
                    self.integers_by_bits().map_err(|_| ("quant_method", EXPECTED.to_owned()))?;
            }
        }
        Ok(scheme)
    }

    /// ModelOpt: one algorithm for all layers, or one for each module of a list.
    fn modelopt(&self, scheme: &mut Scheme) -> Result<(), Refused> {
        const LIST: &str = "quantized_layers";
        let Some(algorithm) = self.text("quant_algo") else { return Ok(()) };
        if algorithm != "MIXED_PRECISION" {
            scheme.default = self.algorithm(algorithm, self.config, "quant_algo")?;
            return Ok(());
        }
        let layers = self.config.get(LIST).and_then(Value::as_object);
        let Some(layers) = layers.filter(|layers| !layers.is_empty()) else {
            return Err((LIST, "the list of modules and their algorithms is missing".to_owned()));
        };
        let mut by_weights: Vec<(Vec<&str>, Weights)> = Vec::new();
        for (module, own) in layers {
            let algorithm = own.get("quant_algo").and_then(Value::as_str).unwrap_or_default();
            let weights = self.algorithm(algorithm, own, LIST)?;
            match by_weights.iter_mut().find(|(_, known)| *known == weights) {
                Some((modules, _)) => modules.push(module),
                None => by_weights.push((vec![module], weights)),
            }
        }
        for (modules, weights) in by_weights {
            scheme.rules.push((self.modules(LIST, modules)?, weights));
        }
        // What is on no list is as another method has it, exceptions included.
        if self.text("quant_method") == Some("fp8") {
            (scheme.default, scheme.exceptions) = (Weights::Fp8, Modules::default());
        }
        Ok(())
    }

    /// The weights of one of ModelOpt's algorithms.
    fn algorithm(&self, name: &str, config: &Value, key: &'static str) -> Result<Weights, Refused> {
        let groups = Written { config, ..*self }.groups(false);
        match name {
            "FP8" | "FP8_PER_CHANNEL_PER_TOKEN" | "FP8_PB_WO" | "FP8_PER_BLOCK" => Ok(Weights::Fp8),
            "NVFP4" | "NVFP4_AWQ" | "W4A16_NVFP4" | "W4A8_NVFP4_FP8" => Ok(Weights::Nvfp4),
            "MXFP8" => Ok(Weights::Mxfp8),
            "MXFP4" | "W4A8_MXFP4_FP8" => Ok(Weights::Mxfp4),
            "W4A16_AWQ" | "W4A16" => Ok(Weights::Int4(groups?)),
            "W8A16" | "W8A16_AWQ" => Ok(Weights::Int8(groups?)),
            "W8A8_SQ_PER_CHANNEL" | "INT8_SQ" => Ok(Weights::W8A8),
            _ => Err((key, format!("`{name}` is none of what is known; {EXPECTED}"))),
        }
    }

    /// `config_groups`, each with what it holds for, as llm-compressor writes them.
    fn compressed_tensors(&self, scheme: &mut Scheme) -> Result<(), Refused> {
        const GROUPS: &str = "config_groups";
        let groups = self.config.get(GROUPS).and_then(Value::as_object);
        let Some(groups) = groups.filter(|groups| !groups.is_empty()) else {
            return Err((GROUPS, "a group of weights is missing".to_owned()));
        };
        for group in groups.values() {
            let weights = self.group(group)?;
            let targets = group.get("targets").and_then(Value::as_array);
            let targets: Vec<&str> =
                targets.into_iter().flatten().filter_map(Value::as_str).collect();
            if targets.is_empty() || targets.contains(&"Linear") {
                scheme.default = weights;
            } else {
                scheme.rules.push((self.modules(GROUPS, targets)?, weights));
            }
        }
        Ok(())
    }

    /// The weights of a group.
    fn group(&self, group: &Value) -> Result<Weights, Refused> {
        const GROUPS: &str = "config_groups";
        let Some(scheme) = group.get("weights").filter(|scheme| !scheme.is_null()) else {
            return Err((GROUPS, "`weights` are missing in its group".to_owned()));
        };
        let bits = scheme.get("num_bits").and_then(Value::as_u64);
        let size = scheme.get("group_size").and_then(Value::as_u64);
        let activations = group.get("input_activations").filter(|inputs| !inputs.is_null());
        match (bits, is_float(scheme), activations) {
            (Some(8), true, _) if size == Some(32) => Ok(Weights::Mxfp8),
            (Some(8), true, _) => Ok(Weights::Fp8),
            (Some(4), true, _) if size == Some(16) => Ok(Weights::Nvfp4),
            (Some(4), true, _) if size == Some(32) => Ok(Weights::Mxfp4),
            (_, true, _) => Err((GROUPS, EXPECTED.to_owned())),
            (Some(8), false, Some(inputs)) if !is_float(inputs) => Ok(Weights::W8A8),
            (_, false, Some(_)) => {
                let why = "products of integers other than 8 bits with 8; activations of 16 bits \
                           are modelled";
                Err((GROUPS, why.to_owned()))
            }
            (bits, false, None) => {
                let symmetric = scheme.get("symmetric").and_then(Value::as_bool) != Some(false);
                let inner = Written { config: scheme, ..*self };
                integers(bits, inner.groups(!symmetric)?).ok_or((GROUPS, EXPECTED.to_owned()))
            }
        }
    }

    /// bitsandbytes' 4 and 8 bits.
    fn bitsandbytes(&self) -> Result<Weights, Refused> {
        let flag = |key: &str| self.config.get(key).and_then(Value::as_bool) == Some(true);
        let kind = self.text("bnb_4bit_quant_type").unwrap_or("fp4");
        match (flag("load_in_4bit"), flag("load_in_8bit")) {
            (true, _) if matches!(kind, "nf4" | "fp4") => Ok(Weights::Nf4),
            (false, true) => Ok(Weights::Int8(Groups { size: None, zero_points: false })),
            _ => Err(("quant_method", EXPECTED.to_owned())),
        }
    }

    fn kv_cache(&self) -> Result<KvCache, Refused> {
        const ALGORITHM: &str = "kv_cache_quant_algo";
        const SCHEME: &str = "kv_cache_scheme";
        match self.text(ALGORITHM) {
            Some("FP8") => return Ok(KvCache::Fp8),
            Some("INT8") => return Ok(KvCache::Int8),
            Some(_) => return Err((ALGORITHM, "a KV cache of 8 bits is".to_owned())),
            None => {}
        }
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

    /// Modules that stay in 16 bits.
    fn exceptions(&self) -> Result<Modules, Refused> {
        for key in EXCEPTIONS {
            let names = self.config.get(key).and_then(Value::as_array);
            let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
            if !names.is_empty() {
                return self.modules(key, names);
            }
        }
        Ok(Modules::default())
    }

    fn modules(&self, key: &'static str, names: Vec<&str>) -> Result<Modules, Refused> {
        Modules::new(names).map_err(|name| (key, format!("{name} is no regular expression")))
    }

    /// Notes keys that are not understood.
    fn leftover(&self) {
        const READ: [&str; 26] = [
            "quant_method",
            "quant_algo",
            "quantized_layers",
            "moe_quant_algo",
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
            "targets",
            "weights",
            "strategy",
            "quantization",
            "has_zero_point",
            "expert_dtype",
            "load_in_4bit",
            "load_in_8bit",
            "bnb_4bit_quant_type",
            "bnb_4bit_use_double_quant",
            "sparsity_config",
        ];
        for (key, value) in self.config.as_object().into_iter().flatten() {
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(keys) => keys.is_empty(),
                Value::Array(values) => values.is_empty(),
                _ => false,
            };
            let key = key.as_str();
            let known = READ.contains(&key) || HARMLESS.contains(&key) || EXCEPTIONS.contains(&key);
            if !empty && !known {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Source;

    /// What is read, or the keys that are not modelled.
    fn of(json: &str) -> Result<(Weights, KvCache), String> {
        let text = format!("{{\"quantization_config\": {json}}}");
        let document = JsonDocument::parse(Source::new("c", text)).unwrap();
        let keys = Keys::new(&document);
        let scheme = read(&keys, Path::new("/nowhere/config.json")).unwrap();
        match keys.take_unmodelled().first() {
            None => Ok((scheme.of("layers.0.mlp.experts.0.up_proj", true), scheme.kv_cache)),
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
        assert_eq!(config(channel, channel, "null"), Ok((Weights::W8A8, KvCache::Fp16)));
        let fp4 = r#"{"num_bits": 4, "type": "float", "group_size": 16}"#;
        assert_eq!(config(fp4, fp4, "null"), Ok((Weights::Nvfp4, KvCache::Fp16)));
        assert!(config(grouped, channel, "null").unwrap_err().contains("16 bits"));
    }

    #[test]
    fn what_is_not_modelled_is_noted() {
        for (json, key) in [
            (r#"{"quant_method": "gptq", "bits": 3}"#, "bits"),
            (r#"{"quant_method": "hqq", "load_in_4bit": true}"#, "quant_method"),
            (r#"{"bits": 4, "group_size": 0}"#, "group_size"),
            (r#"{"bits": 1e300}"#, "bits"),
            (r#"{"quant_method": "compressed-tensors"}"#, "config_groups"),
            (r#"{"quant_method": "modelopt", "quant_algo": "NVFP2"}"#, "quant_algo"),
            (r#"{"quant_method": "fp8", "ignored_layers": ["re:("]}"#, "ignored_layers"),
            (r#"{"quant_method": "fp8", "mystery": 3}"#, "mystery"),
            (r#"{"quant_algo": "MIXED_PRECISION"}"#, "quantized_layers"),
            ("3", "bits"),
        ] {
            let refused = of(json).unwrap_err();
            assert!(refused.starts_with(&format!("quantization_config.{key}: ")), "{refused}");
        }
    }

    /// What is read of these modules.
    fn of_each<const N: usize>(json: &str, modules: [&str; N]) -> [Weights; N] {
        let text = format!("{{\"quantization_config\": {json}}}");
        let document = JsonDocument::parse(Source::new("c", text)).unwrap();
        let keys = Keys::new(&document);
        let scheme = read(&keys, Path::new("/nowhere/config.json")).unwrap();
        assert!(keys.take_unmodelled().is_empty(), "{json}");
        modules.map(|module| scheme.of(module, module.contains("experts")))
    }

    #[test]
    fn each_module_is_stored_as_its_list_says() {
        let modules = [
            "layers.0.self_attn.q_proj",
            "layers.0.mlp.up_proj",
            "layers.1.mlp.experts.0.up_proj",
            "lm_head",
        ];
        let (half, fp8, nvfp4) = (Weights::Half, Weights::Fp8, Weights::Nvfp4);
        for (json, expected) in [
            (r#"{"quant_method": "fp8"}"#, [fp8, fp8, fp8, half]),
            (
                r#"{"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}"#,
                [half, half, Weights::Mxfp4, half],
            ),
            (
                r#"{"quant_algo": "NVFP4", "ignore": ["model.layers.0.self_attn*", "lm_head"]}"#,
                [half, nvfp4, nvfp4, half],
            ),
            (
                r#"{"quant_algo": "MIXED_PRECISION", "quantized_layers": {
                    "model.layers.0.self_attn.qkv_proj": {"quant_algo": "FP8"},
                    "model.layers.1.mlp.experts": {"quant_algo": "NVFP4"},
                    "lm_head": {"quant_algo": "NVFP4"}}}"#,
                [fp8, half, nvfp4, nvfp4],
            ),
            (
                r#"{"quant_method": "compressed-tensors", "config_groups": {
                    "a": {"targets": ["re:.*self_attn.*"],
                        "weights": {"num_bits": 8, "type": "float"}},
                    "b": {"targets": ["re:.*mlp.*"], "weights": {"num_bits": 4, "type": "int"}}}}"#,
                [fp8, int4(Some(128), false), int4(Some(128), false), half],
            ),
        ] {
            assert_eq!(of_each(json, modules), expected, "{json}");
        }
    }
}

//! Models from a HuggingFace `config.json`.

mod context;
mod keys;
mod layerwise;
mod leftover;
mod modules;
mod quantization;

use std::borrow::Cow;
use std::path::Path;

use keys::Unmodelled;
pub(super) use keys::{Keys, WHOLE};
pub(super) use quantization::Scheme;
use serde_json::Value;

use super::families::{self, Experts, Family, HeadNorms, assemble};
use super::{ModelSpec, Moe, layers};
use crate::base::{Diagnostic, JsonDocument, Source, suggest};

/// What families call the number of experts.
const EXPERTS: [&str; 4] =
    ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"];
/// What families call the number of experts of a token.
const EXPERTS_PER_TOKEN: [&str; 7] = [
    "num_experts_per_tok",
    "experts_per_token",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
];
/// What families call the width of an expert.
const EXPERT_WIDTHS: [&str; 4] =
    ["moe_intermediate_size", "expert_ffn_hidden_size", "expert_hidden_dim", "intermediate_size"];
const LAYERS: [&str; 4] = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
const HIDDEN: [&str; 4] = ["hidden_size", "n_embd", "n_embed", "d_model"];
const Q_HEADS: [&str; 3] = ["num_attention_heads", "n_head", "n_heads"];
const KV_HEADS: [&str; 4] =
    ["num_key_value_heads", "num_kv_heads", "n_head_kv", "num_attention_groups"];
const INTERMEDIATE: [&str; 5] =
    ["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "block_ff_dim"];
const VOCAB: [&str; 2] = ["vocab_size", "padded_vocab_size"];

/// What is more than this is no model: ten times the largest ones, and no product overflows.
const MOST_LAYERS: u64 = 1 << 10;
const MOST_EXPERTS: u64 = 1 << 12;
const MOST_WIDTH: u64 = 1 << 18;
const MOST_TOKENS: u64 = 1 << 28;

impl ModelSpec {
    /// The model described by the HuggingFace `config.json` at `path` (or in that folder), named
    /// after its `_name_or_path`, or after the folder of the file.
    ///
    /// What the config says and the simulation does not model is refused, unless its key is in
    /// `allowed`: then it is left out, and named in [`ModelSpec::unmodelled`].
    ///
    /// # Errors
    /// The file cannot be read, is no JSON, a key is missing or no number, or says something that
    /// is not modelled; each with its place in the file.
    pub fn from_hf_config(path: &Path, allowed: &[String]) -> Result<ModelSpec, Box<Diagnostic>> {
        let path = if path.is_dir() { &path.join("config.json") } else { path };
        ModelSpec::from_document(&JsonDocument::read(path)?, path, path, allowed)
    }

    /// The model described by the text of a `config.json`, with nothing beside it; `path` is what
    /// complaints call it.
    ///
    /// # Errors
    /// As [`ModelSpec::from_hf_config`].
    pub(super) fn from_hf_text(text: &str, path: &Path) -> Result<ModelSpec, Box<Diagnostic>> {
        let source = Source::new(path.display().to_string(), text);
        ModelSpec::from_document(&JsonDocument::parse(source)?, path, Path::new(""), &[])
    }

    /// The model described by `document`, which complaints call `path`; other files may lie beside
    /// `place`.
    fn from_document(
        document: &JsonDocument,
        path: &Path,
        place: &Path,
        allowed: &[String],
    ) -> Result<ModelSpec, Box<Diagnostic>> {
        let mut keys = Keys::new(document);
        let family = family(&keys);
        keys.set_defaults(family.defaults);
        keys.set_sizes(families::sizes(keys.text("model_type").unwrap_or_default()));
        if family.experts == Experts::ByKey {
            keys.understands(&EXPERTS);
        }
        let read = read(&keys, family).and_then(|mut spec| {
            // Numbers that are no model's would be multiplied.
            plausible(&keys, &spec)?;
            let mut scheme = quantization::read(&keys, place)?;
            let mut listed = assemble::layers(&keys, family, &spec)?;
            (family.storage)(&keys, &mut scheme);
            layers::store(&mut listed, &mut spec, &scheme);
            layers::settle(listed, &mut spec);
            Ok(spec)
        });
        leftover::check(&keys, family.harmless, read.is_ok());
        let (allowed, mut refused): (Vec<Unmodelled>, Vec<Unmodelled>) =
            keys.take_unmodelled().into_iter().partition(|one| allowed.contains(&one.key));
        refused.sort_by_key(|one| one.why == leftover::NOT_UNDERSTOOD);
        let mut spec = match (read, refused.as_slice()) {
            (Ok(spec), []) => spec,
            (Err(error), []) => return Err(error),
            (Ok(_), refused) => return Err(Box::new(refusal(refused, path))),
            (Err(error), refused) => {
                return Err(Box::new(refusal(refused, path).note(format!("and {}", error.title))));
            }
        };
        spec.name = Cow::Owned(name(&keys, path));
        spec.unmodelled = allowed.into_iter().map(|one| one.key).collect();
        Ok(spec)
    }
}

/// One message for everything that is not modelled.
fn refusal(refused: &[Unmodelled], path: &Path) -> Diagnostic {
    let first = &refused[0];
    let title = format!("{}: `{}` is not modelled: {}", path.display(), first.key, first.why);
    let mut diagnostic = Diagnostic::error(title);
    if let Some(place) = &first.place {
        diagnostic = diagnostic.at(place.clone(), "would be simulated as something else");
    }
    const SHOWN: usize = 8;
    for other in refused[1..].iter().take(SHOWN) {
        let line = other.place.as_ref().map_or(0, |place| place.line_column().0);
        diagnostic =
            diagnostic.note(format!("nor is `{}` (line {line}): {}", other.key, other.why));
    }
    if refused.len() > SHOWN + 1 {
        diagnostic = diagnostic.note(format!("nor are {} more keys", refused.len() - SHOWN - 1));
    }
    let keys: Vec<String> = refused.iter().map(|one| format!("{:?}", one.key)).collect();
    diagnostic.help(format!(
        "to simulate the model without them all the same: allow_unmodelled: [{}]",
        keys.join(", ")
    ))
}

/// The family by `model_type`, the language model's own first.
fn family(keys: &Keys) -> &'static Family {
    const KEY: &str = "model_type";
    let own = keys.text(KEY);
    let wrapper = keys.outer(KEY).and_then(Value::as_str);
    let found = [own, wrapper].into_iter().flatten().find_map(families::find);
    found.unwrap_or_else(|| {
        let why = match own {
            Some(own) => {
                let near = suggest::closest(own, families::model_types());
                let near =
                    near.map_or(String::new(), |near| format!("; the nearest that is: {near}"));
                format!("no known family is called `{own}`{near}")
            }
            None => "it is missing; it says how blocks are built: llama, qwen3, ...".to_owned(),
        };
        keys.not_modelled(KEY, why);
        &families::UNKNOWN
    })
}

/// The `model_type` by which a family was found.
fn family_name(keys: &Keys, family: &Family) -> &'static str {
    let own = keys.text("model_type");
    let wrapper = keys.outer("model_type").and_then(Value::as_str);
    let named = |name: &str| family.model_types.iter().copied().find(|known| *known == name);
    // A language model within another is known by the name of both.
    [wrapper, own].into_iter().flatten().find_map(named).unwrap_or("unknown")
}

/// The shape of a model.
fn read(keys: &Keys, family: &Family) -> Result<ModelSpec, Box<Diagnostic>> {
    let hidden = keys.required(&HIDDEN)?;
    let q_heads = keys.required(&Q_HEADS)?;
    keys.understands(&["attention_head_dim"]);
    let head_dim = keys.count(&["head_dim", "attention_head_dim"])?.filter(|dim| *dim > 0);
    let head_dim = match head_dim.or(family.head_dim) {
        Some(head_dim) => head_dim,
        None if hidden.is_multiple_of(q_heads) => hidden / q_heads,
        None => {
            return Err(keys.wrong("head_dim", "a number: the heads do not divide the width"));
        }
    };
    let experts = experts(keys, family)?;
    let intermediate = match (keys.optional(&INTERMEDIATE)?, experts) {
        (Some(width), _) => width,
        (None, Some(moe)) => moe.moe_intermediate,
        (None, None) if family.mlp_of_four => hidden.saturating_mul(4),
        (None, None) => return Err(keys.wrong(INTERMEDIATE[0], WHOLE)),
    };
    let max_position = context::read(keys, !family.model_types.contains(&"gemma3"))?;
    let vectors = &family.vectors;
    let mut spec = ModelSpec {
        name: Cow::Borrowed(""),
        family: family_name(keys, family),
        layers: layers_of(keys)?,
        hidden,
        q_heads,
        kv_heads: keys.optional(&KV_HEADS)?.unwrap_or(q_heads),
        head_dim,
        intermediate,
        gated_mlp: family.gated,
        vocab: keys.required(&VOCAB)?,
        tie_word_embeddings: tied(keys, family),
        max_position,
        post_attn_norm: vectors.block_norms > 1,
        qk_norm: vectors.head_norms.read(keys) != HeadNorms::None,
        qkv_bias: vectors.qkv_bias.read(keys),
        experts,
        other_layer_params: 0,
        other_params: 0,
        dtype_bytes: dtype_bytes(keys)?,
        weights: super::Weights::Half,
        weight_block: None,
        kv_cache: super::KvCache::Fp16,
        head_weights: super::Weights::Half,
        stack: Vec::new(),
        unmodelled: Vec::new(),
    };
    add_vectors(keys, family, &mut spec);
    (family.adjust)(keys, &mut spec)?;
    Ok(spec)
}

/// The number of layers, or else of the entries of the list with their kinds (Nemotron-H).
fn layers_of(keys: &Keys) -> Result<u32, Box<Diagnostic>> {
    let listed = keys.peek("layers_block_type").and_then(Value::as_array).map(Vec::len);
    match (keys.optional(&LAYERS)?, listed.and_then(|listed| u32::try_from(listed).ok())) {
        (None, Some(listed)) if listed > 0 => Ok(listed),
        _ => keys.required(&LAYERS),
    }
}

/// Whether embedding and LM head are one matrix: a wrapper's own word counts before that of its
/// language model.
fn tied(keys: &Keys, family: &Family) -> bool {
    const KEY: &str = "tie_word_embeddings";
    let own = keys.flag(KEY);
    keys.outer(KEY).and_then(Value::as_bool).or(own).unwrap_or(family.tied)
}

/// Counts what is no matrix and no flag of the shape.
fn add_vectors(keys: &Keys, family: &Family, spec: &mut ModelSpec) {
    let vectors = &family.vectors;
    let (hidden, head_dim) = (u64::from(spec.hidden), u64::from(spec.head_dim));
    let norms = u64::from(vectors.block_norms);
    // Up to two norms are in the shape.
    let mut block = norms.saturating_sub(2) * hidden;
    if vectors.norm_bias {
        block += norms * hidden;
        spec.other_params += hidden;
    }
    if vectors.head_norms.read(keys) == HeadNorms::Whole {
        let width = head_dim * (u64::from(spec.q_heads) + u64::from(spec.kv_heads));
        block += width - 2 * head_dim;
    }
    if vectors.output_bias.read(keys) {
        block += hidden;
    }
    if vectors.mlp_bias.read(keys) && spec.experts.is_none() {
        let inputs = if spec.gated_mlp { 2 } else { 1 };
        block += inputs * u64::from(spec.intermediate) + hidden;
    }
    if vectors.head_bias.read(keys) {
        spec.other_params += u64::from(spec.vocab);
    }
    if let Some(more) = family.position_rows {
        spec.other_params += (u64::from(spec.max_position) + u64::from(more)) * hidden;
    }
    spec.other_layer_params = block;
}

/// Whether numbers are those of a model, and small enough to be multiplied with one another.
fn plausible(keys: &Keys, spec: &ModelSpec) -> Result<(), Box<Diagnostic>> {
    let width = |heads: u32| u64::from(heads) * u64::from(spec.head_dim);
    let most = [
        (&LAYERS[..], u64::from(spec.layers), MOST_LAYERS),
        (&HIDDEN, u64::from(spec.hidden), MOST_WIDTH),
        (&Q_HEADS, u64::from(spec.q_heads), MOST_WIDTH),
        (&["head_dim"], width(spec.q_heads), MOST_WIDTH),
        (&INTERMEDIATE, u64::from(spec.intermediate), MOST_WIDTH),
        (&VOCAB, u64::from(spec.vocab), MOST_TOKENS),
        (&context::POSITIONS, spec.max_position.into(), MOST_TOKENS),
    ];
    for (names, value, limit) in most {
        if value > limit {
            return Err(keys.wrong(keys.written(names), &format!("at most {limit}")));
        }
    }
    if spec.kv_heads > spec.q_heads || !spec.q_heads.is_multiple_of(spec.kv_heads) {
        let expected = format!("a divisor of the {} query heads", spec.q_heads);
        return Err(keys.wrong(keys.written(&KV_HEADS), &expected));
    }
    let Some(moe) = spec.experts else { return Ok(()) };
    if u64::from(moe.experts) > MOST_EXPERTS {
        return Err(keys.wrong(keys.written(&EXPERTS), &format!("at most {MOST_EXPERTS}")));
    }
    if u64::from(moe.moe_intermediate) > MOST_WIDTH {
        let expected = format!("at most {MOST_WIDTH}");
        return Err(keys.wrong(keys.written(&EXPERT_WIDTHS), &expected));
    }
    if moe.experts_per_token > moe.experts {
        let expected = format!("at most the {} experts", moe.experts);
        return Err(keys.wrong(keys.written(&EXPERTS_PER_TOKEN), &expected));
    }
    Ok(())
}

fn experts(keys: &Keys, family: &Family) -> Result<Option<Moe>, Box<Diagnostic>> {
    if family.experts == Experts::Never {
        return Ok(None);
    }
    keys.understands(&EXPERTS_PER_TOKEN);
    let Some(experts) = keys.count(&EXPERTS)?.filter(|experts| *experts > 1) else {
        return Ok(None);
    };
    Ok(Some(Moe {
        experts,
        experts_per_token: keys.required(&EXPERTS_PER_TOKEN)?,
        moe_intermediate: keys.required(&EXPERT_WIDTHS)?,
    }))
}

fn dtype_bytes(keys: &Keys) -> Result<f64, Box<Diagnostic>> {
    let key = keys.written(&["dtype", "torch_dtype"]);
    // Both may be there.
    keys.get("torch_dtype");
    match keys.text(key) {
        // Engines serve fp32 checkpoints in half precision.
        None | Some("bfloat16" | "float16" | "auto" | "float32") => Ok(2.0),
        Some(_) => Err(keys.wrong(key, "bfloat16, float16 or float32")),
    }
}

fn name(keys: &Keys, path: &Path) -> String {
    let written = keys.outer("_name_or_path").and_then(Value::as_str).unwrap_or("");
    let printable = !written.is_empty() && !written.contains(char::is_control);
    if printable && !Path::new(written).is_absolute() {
        return written.to_owned();
    }
    let folder = path.parent().and_then(Path::file_name);
    folder.or(path.file_stem()).unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{KvCache, Weights};
    use super::*;
    use crate::hardware::model::find;

    fn read_allowing(json: &str, allowed: &[&str]) -> Result<ModelSpec, Box<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let allowed: Vec<String> = allowed.iter().map(|key| (*key).to_owned()).collect();
        ModelSpec::from_hf_config(&path, &allowed)
    }

    fn read(json: &str) -> Result<ModelSpec, Box<Diagnostic>> {
        read_allowing(json, &[])
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
            r#"{"_name_or_path": "a/b", "model_type": "llama", "text_config": {"num_hidden_layers": 2,
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

    /// A small Llama with `more` keys.
    fn with(more: &str) -> String {
        format!(
            r#"{{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
            "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
            "vocab_size": 10, "max_position_embeddings": 100{more}}}"#
        )
    }

    #[test]
    fn errors_name_the_key() {
        let message = |json: &str| read(json).unwrap_err().to_string();
        let text = message("{}");
        assert!(
            text.contains("`hidden_size` is missing, expected a whole number, 1 or more"),
            "{text}"
        );
        let text = message("{\n \"hidden_size\": \"x\", \"model_type\": \"llama\"}");
        assert!(
            text.contains("`hidden_size` is \"x\"") && text.contains("config.json:2:2"),
            "{text}"
        );
        assert!(message("{").contains("config.json is no JSON"));
        assert!(message("[1]").contains("`hidden_size` is missing"));
        let long = format!("\"vocab_size\": [{}0]", "1, ".repeat(9000));
        let vocab = with("").replace("\"vocab_size\": 10", &long);
        let text = message(&vocab);
        assert!(text.contains("`vocab_size` is [1, 1, 1, ... (9001 values)]"), "{text}");
        assert!(text.len() < 1000, "{} bytes", text.len());
    }

    #[test]
    fn what_is_not_modelled_is_refused_unless_it_is_allowed() {
        let more = ",\n\"layer_types\": [\"full_attention\", \"odd_attention\"],\n\"widgets\": 3";
        let text = read(&with(more)).unwrap_err().to_string();
        for part in [
            "`layer_types` is not modelled: layers called `odd_attention`",
            "config.json:4:1",
            "nor is `widgets` (line 5): a key that is not understood",
            "allow_unmodelled: [\"layer_types\", \"widgets\"]",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(read_allowing(&with(more), &["layer_types"]).is_err());
        let spec = read_allowing(&with(more), &["layer_types", "widgets"]).unwrap();
        assert_eq!(spec.unmodelled, ["layer_types", "widgets"]);
        assert!(spec.label().ends_with(" (not modelled: layer_types widgets)"), "{}", spec.label());
    }

    #[test]
    fn keys_that_change_nothing_are_no_reason() {
        let more = r#", "layer_types": ["full_attention", "full_attention"], "n_shared_experts": null,
            "first_k_dense_replace": 0, "moe_layer_freq": 1, "bos_token_id": 1, "rope_theta": 1e4,
            "attention_dropout": 0.0, "sliding_window": 4096, "time": [0.0, Infinity],
            "initializer_range": NaN"#;
        let refused = read(&with(more)).unwrap_err().to_string();
        assert!(
            refused.contains("`time` is not modelled") && !refused.contains("nor is"),
            "{refused}"
        );
        assert!(read(&with(&more.replace("\"time\"", "\"_time\""))).is_ok());
    }

    #[test]
    fn each_kind_of_layer_that_is_not_modelled_is_refused() {
        for more in [
            "\"sliding_window\": 64",
            "\"kv_lora_rank\": 512",
            "\"n_shared_experts\": 1",
            "\"hybrid_override_pattern\": \"M*\"",
            "\"block_configs\": []",
            "\"interleave_moe_layer_step\": 2",
            "\"attention_chunk_size\": 8192",
            "\"first_k_dense_replace\": 1",
            "\"compress_ratios\": [0, 4]",
            "\"multi_query\": true",
            "\"linear_attn_config\": {\"a\": 1}",
        ] {
            let key = more.split('"').nth(1).unwrap();
            let text = read(&with(&format!(", {more}"))).unwrap_err().to_string();
            assert!(text.contains(&format!("`{key}` is not modelled")), "{text}");
        }
        let unknown = with("").replace("llama", "lama");
        let text = read(&unknown).unwrap_err().to_string();
        assert!(
            text.contains("`model_type` is not modelled: no known family is called `lama`"),
            "{text}"
        );
        assert!(text.contains("the nearest that is: llama"), "{text}");
        assert!(read_allowing(&unknown, &["model_type"]).is_ok());
    }

    #[test]
    fn stretched_positions_extend_the_context() {
        for (rope, expected) in [
            (r#"{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 50}"#, 200),
            (r#"{"rope_type": "yarn", "factor": 4.0}"#, 400),
            (r#"{"rope_type": "linear", "factor": 8}"#, 800),
            (r#"{"rope_type": "llama3", "factor": 8.0}"#, 100),
            (r#"{"type": "mrope", "mrope_section": [1, 2]}"#, 100),
            ("null", 100),
        ] {
            let spec = read(&with(&format!(", \"rope_scaling\": {rope}"))).unwrap();
            assert_eq!(spec.max_position, expected, "{rope}");
        }
        let text = read(&with(r#", "rope_scaling": {"type": "yarn", "factor": -1}"#)).unwrap_err();
        assert!(text.title.contains("`rope_scaling.factor` is -1"), "{text}");
    }

    #[test]
    fn a_file_beside_the_config_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, with("")).unwrap();
        let sidecar = |text: &str| {
            std::fs::write(folder.path().join("hf_quant_config.json"), text).unwrap();
            ModelSpec::from_hf_config(&path, &[])
        };
        let spec = sidecar(
            r#"{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8",
            "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}"#,
        )
        .unwrap();
        assert_eq!((spec.weights, spec.kv_cache), (Weights::Fp8, KvCache::Fp8));
        let text = sidecar("{\"quantization\":\n {\"quant_algo\": \"NVFP2\"}}").unwrap_err();
        let key = "hf_quant_config.json.quantization.quant_algo";
        assert!(
            text.title.contains(&format!("`{key}` is not modelled: it is \"NVFP2\"")),
            "{text}"
        );
        assert_eq!(text.place.unwrap().line_column(), (2, 3));
    }

    #[test]
    fn nonsense_is_refused() {
        let with = |from: &str, to: &str| {
            let good = r#"{"model_type": "qwen3_moe", "num_hidden_layers": 2, "hidden_size": 64,
                "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 10, "max_position_embeddings": 100,
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
                "weights of 4 or 8 bits",
            ),
        ] {
            let message = with(from, to);
            assert!(message.contains(expected), "{message}");
        }
    }
}

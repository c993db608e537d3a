//! Gemma 4: other heads in layers that see everything, an embedding for each layer, last layers
//! that read the keys and values of earlier ones, experts beside the MLP.

use serde_json::Value;

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::{Experts, Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::parts::{self, Heads};
use crate::hardware::model::layers::{Layer, Matrix, Reach};

const GEMMA4: Family = Family {
    model_types: &["gemma4", "gemma4_text"],
    tied: true,
    head_dim: Some(256),
    experts: Experts::ByKey,
    window: Some(512),
    full_every: Some(6),
    kinds,
    mixer,
    finish,
    adjust,
    defaults: &[
        ("vocab_size", 262_144),
        ("max_position_embeddings", 131_072),
        ("hidden_size", 2304),
        ("intermediate_size", 9216),
        ("num_hidden_layers", 30),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("global_head_dim", 512),
        ("vocab_size_per_layer_input", 262_144),
        ("hidden_size_per_layer_input", 256),
    ],
    vectors: Vectors { block_norms: 4, head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    GEMMA4,
    // No embedding for each layer, no experts.
    Family {
        model_types: &["gemma4_unified", "gemma4_unified_text"],
        experts: Experts::Never,
        window: Some(1024),
        defaults: &[
            ("vocab_size", 262_144),
            ("max_position_embeddings", 262_144),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 30),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("global_head_dim", 512),
        ],
        ..GEMMA4
    },
];

/// The width of each layer's own embedding; 0 without.
fn own_width(keys: &Keys) -> Result<u64, Box<Diagnostic>> {
    Ok(keys.count(&["hidden_size_per_layer_input"])?.unwrap_or(0).into())
}

fn adjust(keys: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    if keys.text("use_bidirectional_attention") == Some("all") {
        keys.not_modelled("use_bidirectional_attention", "attention to later tokens");
    }
    if keys.flag("enable_moe_block") != Some(true) {
        spec.experts = None;
    }
    let width = own_width(keys)?;
    if width > 0 {
        let rows = u64::from(keys.required(&["vocab_size_per_layer_input"])?);
        let all = u64::from(spec.layers) * width;
        spec.other_params += rows * all + u64::from(spec.hidden) * all + width;
    }
    keys.understands(&["vocab_size_per_layer_input", "moe_intermediate_size"]);
    Ok(())
}

/// The last layer always sees everything.
fn kinds(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let mut kinds = kinds::by_keys(keys, family, spec)?;
    if let Some(last) = kinds.last_mut() {
        *last = FULL;
    }
    Ok(kinds)
}

/// Whether a layer reads an earlier one's keys and values.
fn reads_earlier(context: &Context, index: u32) -> Result<bool, Box<Diagnostic>> {
    let shared = context.keys.count(&["num_kv_shared_layers"])?.unwrap_or(0);
    Ok(index.saturating_add(shared) >= context.spec.layers)
}

/// What `per_layer_config` says of a layer: width and number of its KV heads.
fn overrides(context: &Context, index: u32, heads: &mut Heads) -> Result<bool, Box<Diagnostic>> {
    const KEY: &str = "per_layer_config";
    let Some(all) = context.keys.get(KEY) else { return Ok(false) };
    let wrong = || {
        let expected = "head_dim and num_key_value_heads of some layers, by their number";
        context.keys.wrong(KEY, expected)
    };
    let layers = all.as_object().ok_or_else(wrong)?;
    for (number, own) in layers {
        let number: u32 = number.parse().map_err(|_| wrong())?;
        for (key, value) in own.as_object().ok_or_else(wrong)? {
            let value = value.as_u64().and_then(|value| u32::try_from(value).ok());
            let value = value.filter(|value| (1..1 << 12).contains(value)).ok_or_else(wrong)?;
            match key.as_str() {
                "head_dim" if number == index => {
                    (heads.key_dim, heads.value_dim) = (value, value);
                }
                "num_key_value_heads" if number == index => heads.kv = value,
                "head_dim" | "num_key_value_heads" => {}
                _ => return Err(wrong()),
            }
        }
    }
    Ok(true)
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Kind::Attention(reach) = kind else { return attention(context, index, kind, layer) };
    let keys = context.keys;
    let mut heads = context.heads(reach);
    let width = keys.required(&["global_head_dim"])?;
    let kv = keys.optional(&["num_global_key_value_heads"])?;
    let alike = keys.flag("attention_k_eq_v").unwrap_or(false);
    if !overrides(context, index, &mut heads)? && reach == Reach::All {
        (heads.key_dim, heads.value_dim) = (width, width);
        heads.kv = kv.filter(|_| alike).unwrap_or(heads.kv);
    }
    if heads.kv > heads.q || !heads.q.is_multiple_of(heads.kv) {
        let expected = format!("a divisor of the {} query heads", heads.q);
        return Err(keys.wrong("num_global_key_value_heads", &expected));
    }
    heads.own_cache = !reads_earlier(context, index)?;
    layer.add_attention("self_attn", heads);
    if alike && reach == Reach::All {
        // Values are made by the matrix of the keys, which are turned afterwards: both are kept.
        layer.matrices.retain(|matrix| matrix.module != "self_attn.v_proj");
    }
    let norms = if heads.own_cache { 2 } else { 1 };
    let counted = 2 * u64::from(context.spec.head_dim);
    layer.vectors = layer.vectors + norms * u64::from(heads.key_dim) - counted;
    Ok(())
}

fn finish(context: &Context, index: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let Context { keys, spec, .. } = context;
    let hidden = context.hidden();
    let width = own_width(keys)?;
    if width > 0 {
        layer.add(Matrix::new("per_layer_input_gate", width, hidden));
        layer.add(Matrix::new("per_layer_projection", hidden, width));
        layer.vectors += hidden;
    }
    if let Some(moe) = layer.experts {
        // Every token meets the MLP, too; three norms and a scale, and one of each expert.
        layer.matrices.extend(parts::mlp("mlp", hidden, spec.intermediate.into(), true));
        layer.vectors += 4 * hidden + u64::from(moe.experts);
    }
    let wide = keys.get("use_double_wide_mlp").and_then(Value::as_bool).unwrap_or(false);
    if wide && reads_earlier(context, index)? {
        for matrix in &mut layer.matrices {
            match matrix.module.as_ref() {
                "mlp.gate_proj" | "mlp.up_proj" => matrix.rows *= 2,
                "mlp.down_proj" => matrix.columns *= 2,
                _ => {}
            }
        }
    }
    Ok(())
}

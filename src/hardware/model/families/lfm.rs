//! Liquid AI's LFM2 and LFM3: short convolutions with a few layers of attention.

use super::assemble::{Context, attention};
use super::kinds::{self, Kind};
use super::{Experts, Family, HeadNorms, LLAMA, Vectors, recurrent};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Matrix, Split};

const LFM2: Family = Family {
    model_types: &["lfm2"],
    tied: true,
    kinds: by_indices,
    mixer,
    mlp_module: "feed_forward",
    defaults: &[
        ("conv_L_cache", 3),
        ("block_multiple_of", 256),
        ("vocab_size", 65536),
        ("max_position_embeddings", 128_000),
    ],
    vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    harmless: &[
        "block_dim",
        "block_mlp_init_scale",
        "block_norm_eps",
        "block_out_init_scale",
        "block_use_swiglu",
        "block_use_xavier_init",
        "conv_dim",
        "conv_dim_out",
        "conv_use_xavier_init",
        "num_heads",
        "tie_embedding",
        "use_pos_enc",
        "theta",
    ],
    adjust: |keys, spec| {
        if keys.flag("block_auto_adjust_ff_dim").unwrap_or(true) {
            let factor = keys.get("block_ffn_dim_multiplier");
            let factor = factor.and_then(serde_json::Value::as_f64).unwrap_or(1.0);
            let unit = keys.required(&["block_multiple_of"])?;
            // The cast saturates, and what is too much is refused with the other numbers.
            let width = (factor
                * f64::from(spec.intermediate / 3 * 2 + spec.intermediate % 3 * 2 / 3))
                as u32;
            spec.intermediate = width.div_ceil(unit).saturating_mul(unit);
        }
        Ok(())
    },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    LFM2,
    Family {
        model_types: &["lfm2_moe"],
        experts: Experts::ByKey,
        defaults: &[
            ("conv_L_cache", 3),
            ("num_dense_layers", 2),
            ("vocab_size", 65536),
            ("max_position_embeddings", 128_000),
        ],
        harmless: &["use_expert_bias"],
        adjust: LLAMA.adjust,
        ..LFM2
    },
    // Norms before and behind each half of a block, a gate for each head.
    Family {
        model_types: &["lfm3"],
        head_dim: Some(128),
        window: Some(256),
        kinds: by_fours,
        defaults: &[
            ("conv_L_cache", 7),
            ("vocab_size", 128_000),
            ("max_position_embeddings", 128_000),
        ],
        vectors: Vectors { block_norms: 4, head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
        adjust: |keys, spec| {
            if keys.flag("use_sandwich_norm") == Some(false) {
                spec.other_layer_params -= 2 * u64::from(spec.hidden);
            }
            Ok(())
        },
        ..LFM2
    },
];

/// Attention at `full_attn_idxs`.
fn by_indices(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let listed = keys.indices("full_attn_idxs")?;
    match (kinds::by_words(keys, family, spec)?, listed) {
        (Some(kinds), _) => Ok(kinds),
        (None, Some(listed)) => Ok(kinds::every(spec.layers, |index| listed.contains(&index))),
        (None, None) => Ok(kinds::every(spec.layers, |_| true)),
    }
}

/// Of each four layers the third is full attention and the first, but for that of the model,
/// attention to a window.
fn by_fours(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if let Some(kinds) = kinds::by_words(keys, family, spec)? {
        return Ok(kinds);
    }
    let near = kinds::sliding(keys, family, spec);
    let kind = |index: u32| match index % 4 {
        2 => kinds::FULL,
        0 if index > 0 => near,
        _ => Kind::Linear,
    };
    Ok((0..spec.layers).map(kind).collect())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let biased = keys.flag("conv_bias").unwrap_or(false);
    let gated = context.family.model_types.contains(&"lfm3")
        && keys.flag("use_attention_gate").unwrap_or(true);
    let kernel = keys.required(&["conv_L_cache"])?;
    if kind == Kind::Linear {
        recurrent::short_conv(context, kernel, layer);
        layer.vectors += if biased { 5 * context.hidden() } else { 0 };
        return Ok(());
    }
    attention(context, index, kind, layer)?;
    if gated {
        let gate = Matrix::new("self_attn.g_proj", context.spec.q_heads.into(), context.hidden());
        layer.add(gate.split(Split::Rows(1)));
    }
    Ok(())
}

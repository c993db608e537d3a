//! MiniMax's Text-01 and M1 (lightning attention), M2, and M3 (attention to blocks that an indexer
//! picks).

use serde_json::Value;

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, LinearState, Matrix, Mixer, Split};

const M2: Family = Family {
    model_types: &["minimax_m2"],
    head_dim: Some(128),
    experts: Experts::ByKey,
    mlp_module: "block_sparse_moe",
    vectors: Vectors {
        head_norms: HeadNorms::Whole,
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &["use_qk_norm", "qk_norm_type", "use_routing_bias"],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    M2,
    Family {
        model_types: &["minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"],
        mixer: with_indexer,
        vectors: Vectors { head_norms: HeadNorms::PerHead, ..M2.vectors },
        harmless: &[
            "use_qk_norm",
            "qk_norm_type",
            "use_routing_bias",
            "use_gemma_norm",
            "num_reward_heads",
        ],
        ..M2
    },
    Family {
        model_types: &["minimax", "minimax_text_01", "minimax_m1"],
        head_dim: None,
        kinds: by_list,
        mixer: lightning,
        vectors: Vectors { head_norms: HeadNorms::None, ..M2.vectors },
        harmless: &[
            "block_size",
            "full_attn_alpha_factor",
            "full_attn_beta_factor",
            "linear_attn_alpha_factor",
            "linear_attn_beta_factor",
            "mlp_alpha_factor",
            "mlp_beta_factor",
            "layernorm_full_attention_alpha",
            "layernorm_full_attention_beta",
            "layernorm_linear_attention_alpha",
            "layernorm_linear_attention_beta",
            "layernorm_mlp_alpha",
            "layernorm_mlp_beta",
            "postnorm",
            "shared_moe_mode",
        ],
        ..M2
    },
];

/// Lightning attention where `attn_type_list` has 0, or by `layer_types`.
fn by_list(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let list = keys.numbers("attn_type_list", spec.layers)?;
    match (kinds::by_words(keys, family, spec)?, list) {
        (Some(kinds), _) => Ok(kinds),
        (None, Some(list)) => Ok(kinds::every(spec.layers, |index| list[index as usize] != 0)),
        (None, None) => Ok(kinds::every(spec.layers, |index| (index + 1) % 2 != 0)),
    }
}

fn lightning(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind == FULL {
        return attention(context, index, kind, layer);
    }
    let spec = context.spec;
    let (heads, dim, hidden) = (spec.q_heads, spec.head_dim, context.hidden());
    let width = u64::from(heads) * u64::from(dim);
    let (rows, name) = (Split::Rows(dim), |matrix: &str| format!("self_attn.{matrix}"));
    layer.add(Matrix::new(name("qkv_proj"), 3 * width, hidden).split(rows));
    layer.add(Matrix::new(name("output_gate"), width, hidden).split(rows));
    layer.add(Matrix::new(name("out_proj"), hidden, width).split(Split::Columns(dim)));
    layer.vectors += width;
    layer.add_state(LinearState {
        name: "Lightning",
        conv_channels: 0,
        conv_inputs: 0,
        heads,
        head_elements: dim.saturating_mul(dim),
        element_bytes: 4,
    });
    Ok(())
}

/// M3's attention, with an indexer in most layers.
fn with_indexer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    const CONFIG: &str = "sparse_attention_config";
    attention(context, index, kind, layer)?;
    let keys = context.keys;
    let Some(config) = keys.get(CONFIG) else { return Ok(()) };
    let number = |key: &str| {
        let number = config.get(key).and_then(Value::as_u64);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| (1..1 << 12).contains(number))
            .ok_or_else(|| keys.wrong(&format!("{CONFIG}.{key}"), "a whole number, 1 to 4095"))
    };
    let listed = config.get("sparse_attention_freq").and_then(Value::as_array);
    let sparse = match listed.map(|list| list.get(index as usize)) {
        Some(Some(one)) => one.as_u64() == Some(1),
        Some(None) => {
            return Err(keys.wrong(CONFIG, "a number in sparse_attention_freq for each layer"));
        }
        None => true,
    };
    if config.get("use_sparse_attention").and_then(Value::as_bool) == Some(false) || !sparse {
        return Ok(());
    }
    let (dim, heads) = (number("sparse_index_dim")?, number("sparse_num_index_heads")?);
    let hidden = context.hidden();
    let queries = u64::from(dim) * u64::from(heads);
    let name = |matrix: &str| format!("self_attn.indexer.{matrix}");
    layer.add(Matrix::new(name("q_proj"), queries, hidden));
    layer.add(Matrix::new(name("k_proj"), dim.into(), hidden));
    layer.vectors += 2 * u64::from(dim);
    for mixer in &mut layer.mixers {
        if let Mixer::Attention { indexer, .. } = mixer {
            *indexer = dim;
        }
    }
    Ok(())
}

//! The layer of a model whose layers are all alike.

use super::{Layer, Matrix, Mixer, Reach, Split};
use crate::hardware::model::ModelSpec;

/// A layer of `model`, from the fields of its shape; matrices under the names of Llama's.
pub(in crate::hardware::model) fn uniform(model: &ModelSpec) -> Layer {
    let hidden = u64::from(model.hidden);
    let (dim, unit) = (u64::from(model.head_dim), model.head_dim);
    let (q, kv) = (u64::from(model.q_heads) * dim, u64::from(model.kv_heads) * dim);
    let mut matrices = vec![
        Matrix::new("self_attn.q_proj", q, hidden).split(Split::Rows(unit)),
        Matrix::new("self_attn.k_proj", kv, hidden).split(Split::Rows(unit)).joined(),
        Matrix::new("self_attn.v_proj", kv, hidden).split(Split::Rows(unit)).joined(),
        Matrix::new("self_attn.o_proj", hidden, q).split(Split::Columns(unit)),
    ];
    match model.experts {
        None => {
            let width = u64::from(model.intermediate);
            matrices.extend(super::parts::mlp("mlp", hidden, width, model.gated_mlp));
        }
        Some(moe) => matrices.extend(super::parts::experts("mlp", hidden, moe, model.gated_mlp)),
    }
    for matrix in matrices.iter_mut().filter(|matrix| matrix.quantizable) {
        matrix.weights = model.weights;
    }
    let norms = if model.post_attn_norm { 2 } else { 1 };
    let head_norms = if model.qk_norm { 2 * dim } else { 0 };
    let bias = if model.qkv_bias { q + 2 * kv } else { 0 };
    Layer {
        mixers: vec![Mixer::Attention {
            q_heads: model.q_heads,
            kv_heads: model.kv_heads,
            key_dim: model.head_dim,
            value_dim: model.head_dim,
            reach: Reach::All,
            own_cache: true,
            indexer: 0,
        }],
        matrices,
        experts: model.experts,
        vectors: bias + head_norms + norms * hidden + model.other_layer_params,
    }
}

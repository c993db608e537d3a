//! Latent attention (MLA) and its sparse form, as DeepSeek-V2 and its followers have it.

use super::assemble::Context;
use super::kinds::Kind;
use crate::base::Diagnostic;
use crate::hardware::model::layers::{Indexer, Layer, Matrix, Mixer, Reach, Split};

/// Class defaults of numbers that configs leave out.
pub(super) const DEFAULTS: &[(&str, u32)] = &[("qk_rope_head_dim", 64)];

/// Keys of latent attention, for models of which no layer may have it.
pub(super) const KEYS: &[&str] = &[
    "attention_bias",
    "kv_lora_rank",
    "q_lora_rank",
    "qk_head_dim",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
];

/// Adds latent attention where a layer has attention.
pub(super) fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    match kind {
        Kind::Attention(reach) => add(context, index, "self_attn", reach, layer),
        _ => super::assemble::attention(context, index, kind, layer),
    }
}

/// Latent attention under `module`.
pub(super) fn add(
    context: &Context,
    index: u32,
    module: &str,
    reach: Reach,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Context { keys, spec, .. } = context;
    let hidden = context.hidden();
    let latent = keys.required(&["kv_lora_rank"])?;
    let rope = keys.count(&["qk_rope_head_dim"])?.unwrap_or(0);
    let nope = keys.required(&["qk_nope_head_dim"])?;
    let value_dim = keys.required(&["v_head_dim"])?;
    keys.understands(&["qk_head_dim", "mla_use_nope", "mla_scale_q_lora", "mla_scale_kv_lora"]);
    // A cache without rotary part (Kimi-K3, GLM-5.3) still has the columns for it.
    let rank = keys.count(&["q_lora_rank"])?.filter(|rank| *rank > 0);
    let heads = u64::from(spec.q_heads);
    let name = |matrix: &str| format!("{module}.{matrix}");
    let queries = heads * u64::from(nope + rope);
    let query_unit = Split::Rows(nope + rope);
    match rank {
        Some(rank) => {
            layer.add(Matrix::new(name("q_a_proj"), rank.into(), hidden));
            layer.add(Matrix::new(name("q_b_proj"), queries, rank.into()).split(query_unit));
            layer.vectors += u64::from(rank);
        }
        None => layer.add(Matrix::new(name("q_proj"), queries, hidden).split(query_unit)),
    }
    let stored = u64::from(latent + rope);
    layer.add(Matrix::new(name("kv_a_proj_with_mqa"), stored, hidden));
    layer.vectors += u64::from(latent);
    let expanded = heads * u64::from(nope + value_dim);
    let expanded = Matrix::new(name("kv_b_proj"), expanded, latent.into());
    layer.add(expanded.split(Split::Rows(nope + value_dim)));
    let output = Matrix::new(name("o_proj"), hidden, heads * u64::from(value_dim));
    layer.add(output.split(Split::Columns(value_dim)));
    if keys.flag("attention_bias") == Some(true) {
        layer.vectors += u64::from(rank.unwrap_or(0)) + stored + hidden;
    }
    let indexer = indexer(context, index, module, rank.unwrap_or(spec.hidden), layer)?;
    layer.mixers.push(Mixer::Latent {
        q_heads: spec.q_heads,
        latent,
        rope,
        nope,
        value_dim,
        reach,
        caches: 1,
        indexer,
    });
    Ok(())
}

/// The indexer of sparse attention, where the config has one.
fn indexer(
    context: &Context,
    index: u32,
    module: &str,
    rank: u32,
    layer: &mut Layer,
) -> Result<Option<Indexer>, Box<Diagnostic>> {
    let Context { keys, spec, .. } = context;
    let Some(topk) = keys.count(&["index_topk"])?.filter(|topk| *topk > 0) else {
        return Ok(None);
    };
    let (heads, dim) = (keys.required(&["index_n_heads"])?, keys.required(&["index_head_dim"])?);
    keys.understands(&["index_topk_freq", "index_skip_topk_offset"]);
    keys.understands(&["index_share_for_mtp_iteration", "index_kpool_always_select_tail"]);
    let pool = keys.count(&["index_kpool"])?.filter(|pool| *pool > 0).unwrap_or(1);
    let kinds = keys.words(&["indexer_types"], spec.layers)?;
    let own = kinds.is_none_or(|kinds| kinds[index as usize] != "shared");
    if own {
        let hidden = context.hidden();
        let name = |matrix: &str| format!("{module}.indexer.{matrix}");
        let queries = u64::from(heads) * u64::from(dim);
        layer.add(Matrix::new(name("wq_b"), queries, rank.into()));
        layer.add(Matrix::new(name("wk"), dim.into(), hidden));
        layer.add(Matrix::new(name("weights_proj"), heads.into(), hidden).plain());
        layer.vectors += 2 * u64::from(dim);
        if keys.flag("index_kpool_compress") == Some(true) {
            layer.add(Matrix::new(name("kpool_gate"), dim.into(), hidden).plain());
            layer.vectors += u64::from(pool) * u64::from(dim);
        }
    }
    Ok(Some(Indexer { heads, dim, topk, pool, own }))
}

//! DeepSeek-V4 and V4.1: a window of latent vectors in each layer, beside compressed ones; streams
//! that are mixed from layer to layer (hyper-connections); V4.1 looks words up in tables (Engram).

use super::assemble::Context;
use super::kinds::{self, Kind};
use super::{Experts, Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::config::{Keys, Scheme};
use crate::hardware::model::layers::{Layer, Matrix, Mixer, Reach, Split};
use crate::hardware::model::{ModelSpec, Weights};

const V4: Family = Family {
    model_types: &["deepseek_v4", "deepseek_ref"],
    experts: Experts::ByKey,
    head_dim: Some(512),
    window: Some(128),
    windowed: true,
    kinds: |_, _, spec: &ModelSpec| Ok(vec![kinds::FULL; spec.layers as usize]),
    mixer: v4,
    finish: hyper_connections,
    storage,
    adjust,
    mlp_module: "ffn",
    defaults: &[
        ("qk_rope_head_dim", 64),
        ("num_key_value_heads", 1),
        ("hc_mult", 4),
        ("n_shared_experts", 1),
        ("o_groups", 8),
        ("sliding_window", 128),
    ],
    vectors: Vectors {
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &[
        "compress_rope_theta",
        "hc_sinkhorn_iters",
        "num_hash_layers",
        "expert_dtype",
        "attention_bias",
        "n_hash_layers",
    ],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    V4,
    Family {
        model_types: &["deepseek_v41", "deepseek_v41_text"],
        mixer: v41,
        harmless: &[
            "hc_sinkhorn_iters",
            "candidate_block_size",
            "candidate_source_layer_id",
            "candidate_topk_blocks",
            "compress_rope_theta",
            "dspark_block_size",
            "dspark_markov_rank",
            "dspark_n_routed_experts",
            "dspark_num_experts_per_tok",
            "dspark_target_layer_ids",
            "engram_compressed_vocab_size",
            "engram_vocab_size",
            "expert_dtype",
            "attention_bias",
        ],
        ..V4
    },
];

/// The mix of the streams behind the last layer.
fn adjust(keys: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    let streams = u64::from(keys.required(&["hc_mult"])?);
    spec.other_params += streams * streams * u64::from(spec.hidden) + streams + 1;
    Ok(())
}

/// Experts of 4 bits where `expert_dtype` says so.
fn storage(keys: &Keys, scheme: &mut Scheme) {
    let inner = keys.get("quantization_config").and_then(|config| config.get("expert_dtype"));
    let named = keys.text("expert_dtype").or(inner.and_then(serde_json::Value::as_str));
    if named == Some("fp4") {
        scheme.set_modules("ffn.experts", Weights::Mxfp4);
    }
    // Tables have a scale for each 32.
    scheme.set_modules("engram.embed", Weights::Mxfp8);
}

/// What mixes the streams before attention and before the MLP.
pub(super) fn hyper_connections(
    context: &Context,
    _: u32,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let streams = u64::from(context.keys.count(&["hc_mult"])?.unwrap_or(0));
    if streams > 0 {
        let mix = (2 + streams) * streams;
        layer.vectors += 2 * (mix * streams * context.hidden() + mix + 3);
    }
    Ok(())
}

/// Attention to the window, whose output is projected in groups.
fn window(context: &Context, layer: &mut Layer) -> Result<u32, Box<Diagnostic>> {
    let Context { keys, spec, family } = context;
    let hidden = context.hidden();
    let (heads, dim) = (u64::from(spec.q_heads), u64::from(spec.head_dim));
    let q_rank = keys.required(&["q_lora_rank"])?;
    let o_rank = u64::from(keys.required(&["o_lora_rank"])?);
    let groups = u64::from(keys.required(&["o_groups"])?);
    let rope = keys.required(&["qk_rope_head_dim"])?;
    let name = |matrix: &str| format!("attn.{matrix}");
    let unit = spec.head_dim;
    layer.add(Matrix::new(name("wq_a"), q_rank.into(), hidden));
    layer.add(Matrix::new(name("wkv"), dim, hidden).joined());
    let queries = Matrix::new(name("wq_b"), heads * dim, q_rank.into());
    layer.add(queries.split(Split::Rows(unit)));
    // Each group projects its own heads.
    layer.add(Matrix::new(name("wo_a"), o_rank, heads * dim).split(Split::Columns(unit)));
    let output = Matrix::new(name("wo_b"), hidden, groups * o_rank);
    layer.add(output.split(Split::Columns(1)));
    // Norms, and a sink for each head.
    layer.vectors += u64::from(q_rank) + dim + heads;
    let near = kinds::window(keys, family, spec).map_or(Reach::All, Reach::Window);
    layer.mixers.push(Mixer::Latent {
        q_heads: spec.q_heads,
        latent: spec.head_dim.saturating_sub(rope),
        rope,
        nope: spec.head_dim.saturating_sub(rope),
        value_dim: spec.head_dim,
        reach: near,
        caches: 1,
        indexer: None,
    });
    Ok(q_rank)
}

/// By how much the tokens of a layer are compressed; 0 for not at all.
fn ratio(context: &Context, index: u32) -> Result<u32, Box<Diagnostic>> {
    let listed = context.keys.numbers("compress_ratios", context.spec.layers)?;
    let key = context.keys.wrong("compress_ratios", "a list of numbers, one for each layer");
    listed.map(|listed| listed[index as usize]).ok_or(key)
}

/// V4: compressed by 4 with an indexer, or by more without.
fn v4(context: &Context, index: u32, _: Kind, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    const INDEXED: u32 = 4;
    let keys = context.keys;
    let q_rank = window(context, layer)?;
    let (dim, index_dim) = (context.spec.head_dim, keys.required(&["index_head_dim"])?);
    let index_heads = keys.required(&["index_n_heads"])?;
    let topk = keys.required(&["index_topk"])?;
    let ratio = ratio(context, index)?;
    if ratio == 0 {
        return Ok(());
    }
    // Compressed in pairs that overlap, where there is an indexer.
    let width = if ratio == INDEXED { 2 } else { 1 };
    compressor(context, "attn.compressor", width * u64::from(dim), ratio, layer);
    layer.vectors += u64::from(dim);
    let indexer = if ratio == INDEXED { index_dim } else { 0 };
    if ratio == INDEXED {
        let (name, own) = ("attn.indexer", u64::from(index_dim));
        compressor(context, "attn.indexer.compressor", 2 * own, ratio, layer);
        layer.vectors += own;
        layer.add(Matrix::new(format!("{name}.wq_b"), u64::from(index_heads) * own, q_rank.into()));
        layer.add(Matrix::new(
            format!("{name}.weights_proj"),
            index_heads.into(),
            context.hidden(),
        ));
    }
    layer.mixers.push(Mixer::Compressed {
        q_heads: context.spec.q_heads,
        latent: dim,
        ratio,
        indexer,
        index_heads: if ratio == INDEXED { index_heads } else { 0 },
        topk: if ratio == INDEXED { topk } else { 0 },
        own_cache: true,
    });
    Ok(())
}

/// A projection of tokens and of their weights, and a bias for each place.
fn compressor(context: &Context, name: &str, width: u64, ratio: u32, layer: &mut Layer) {
    layer.add(Matrix::new(format!("{name}.wkv"), width, context.hidden()));
    layer.add(Matrix::new(format!("{name}.wgate"), width, context.hidden()).joined());
    layer.vectors += width * u64::from(ratio);
}

/// V4.1: compressed tokens are those of a source layer; so are the picks of an indexer.
fn v41(context: &Context, index: u32, _: Kind, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let hidden = context.hidden();
    let q_rank = window(context, layer)?;
    let (dim, index_dim) = (context.spec.head_dim, keys.required(&["index_head_dim"])?);
    let index_heads = keys.required(&["index_n_heads"])?;
    let topk = keys.required(&["index_topk"])?;
    let sources = keys.indices("kv_source_layer_ids")?.unwrap_or_default();
    let indexers = keys.indices("index_source_layer_ids")?.unwrap_or_default();
    engram(context, index, layer)?;
    let ratio = ratio(context, index)?;
    if ratio == 0 {
        return Ok(());
    }
    let own_cache = sources.contains(&index);
    if own_cache {
        layer.add(Matrix::new("attn.compressor.wkv", dim.into(), hidden).plain());
        if ratio > 1 {
            layer.add(Matrix::new("attn.compressor.wgate", dim.into(), hidden).plain());
        }
        layer.vectors += u64::from(dim);
    }
    if indexers.contains(&index) {
        let queries = u64::from(index_heads) * u64::from(index_dim);
        layer.add(Matrix::new("attn.indexer.wq_b", queries, q_rank.into()));
        layer.add(Matrix::new("attn.indexer.weights_proj", index_heads.into(), hidden).plain());
        if own_cache {
            layer.add(Matrix::new("attn.indexer.wk", index_dim.into(), dim.into()).plain());
            layer.vectors += u64::from(index_dim);
        }
    }
    layer.mixers.push(Mixer::Compressed {
        q_heads: context.spec.q_heads,
        latent: dim,
        ratio,
        indexer: index_dim,
        index_heads: if indexers.contains(&index) { index_heads } else { 0 },
        topk,
        own_cache,
    });
    Ok(())
}

/// Tables of word sequences, in some layers.
fn engram(context: &Context, index: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let layers = keys.indices("engram_layer_ids")?.unwrap_or_default();
    let rows = keys.indices("engram_num_embeddings")?.unwrap_or_default();
    let Some(at) = layers.iter().position(|layer| *layer == index) else { return Ok(()) };
    let Some(rows) = rows.get(at) else {
        return Err(keys.wrong("engram_num_embeddings", "a number for each of engram_layer_ids"));
    };
    let longest = keys.required(&["engram_max_ngram_size"])?;
    let heads = keys.required(&["engram_n_heads"])?;
    let dim = u64::from(keys.required(&["engram_head_dim"])?);
    let streams = u64::from(keys.required(&["hc_mult"])?);
    let read = longest.saturating_sub(1).saturating_mul(heads);
    let hidden = context.hidden();
    layer.add(Matrix::table("engram.embed", *rows, dim, read));
    let projected = Matrix::new("engram.wkv", hidden * (streams + 1), u64::from(read) * dim);
    layer.add(projected.split(Split::Rows(1)));
    layer.vectors += 2 * streams * hidden;
    Ok(())
}

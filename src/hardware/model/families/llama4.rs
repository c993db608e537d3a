//! Llama 4: chunked attention, every so many layers experts beside a shared one.

use super::assemble::Context;
use super::kinds::{self, FULL, Kind};
use super::{Experts, Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, parts};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["llama4", "llama4_text"],
    head_dim: Some(128),
    experts: Experts::ByKey,
    kinds,
    finish,
    mlp_module: "feed_forward",
    defaults: &[
        ("attention_chunk_size", 8192),
        ("interleave_moe_layer_step", 1),
        ("no_rope_layer_interval", 4),
        ("intermediate_size_mlp", 16384),
        ("num_local_experts", 16),
        ("num_experts_per_tok", 1),
        ("max_position_embeddings", 131_072),
        ("vocab_size", 202_048),
    ],
    // Queries and keys are normed without weights.
    vectors: Vectors { head_norms: HeadNorms::None, ..LLAMA.vectors },
    harmless: &["use_qk_norm", "attn_temperature_tuning", "floor_scale", "attn_scale"],
    ..LLAMA
}];

/// Layers with rotary embedding see their chunk, those without see everything.
fn kinds(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    keys.understands(&["no_rope_layers", "no_rope_layer_interval", "attention_chunk_size"]);
    if let Some(kinds) = kinds::by_words(keys, family, spec)? {
        return Ok(kinds);
    }
    let chunked = Kind::Attention(kinds::chunk(keys, spec)?);
    let listed = keys.indices("no_rope_layers")?.filter(|all| !all.is_empty());
    if let Some(listed) = listed {
        if listed.len() < spec.layers as usize {
            let expected = format!("a list of {} numbers, one for each layer", spec.layers);
            return Err(keys.wrong("no_rope_layers", &expected));
        }
        let kind = |rope: &u32| if *rope == 0 { FULL } else { chunked };
        return Ok(listed.iter().take(spec.layers as usize).map(kind).collect());
    }
    let every = keys.required(&["no_rope_layer_interval"])?;
    let full = |index: u32| (index + 1).is_multiple_of(every);
    Ok((0..spec.layers).map(|i| if full(i) { FULL } else { chunked }).collect())
}

/// The expert that every token meets beside those that it is routed to.
fn finish(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    if let Some(moe) = layer.experts {
        let width = moe.moe_intermediate.into();
        let shared = parts::mlp("feed_forward.shared_expert", context.hidden(), width, true);
        layer.matrices.extend(shared);
    }
    Ok(())
}

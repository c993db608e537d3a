//! Meituan's LongCat-Flash: two latent attentions and two MLPs in each layer, beside experts of
//! which some do nothing.

use super::assemble::Context;
use super::kinds::Kind;
use super::{Experts, Family, Flag, LLAMA, Vectors, latent};
use crate::base::Diagnostic;
use crate::hardware::model::layers::{Layer, Mixer, Reach, parts};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["longcat_flash"],
    experts: Experts::ByKey,
    head_dim: Some(64),
    mixer,
    finish,
    defaults: &[
        ("qk_rope_head_dim", 64),
        ("zero_expert_num", 256),
        ("n_routed_experts", 512),
        ("moe_topk", 12),
        ("max_position_embeddings", 131_072),
    ],
    vectors: Vectors {
        block_norms: 4,
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &["zero_expert_type", "router_bias", "attention_method"],
    ..LLAMA
}];

fn mixer(context: &Context, index: u32, _: Kind, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    latent::add(context, index, "self_attn.0", Reach::All, layer)?;
    latent::add(context, index, "self_attn.1", Reach::All, layer)
}

/// The MLPs, and the rows of the router that stand for experts which do nothing.
fn finish(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let (hidden, width) = (context.hidden(), u64::from(context.spec.intermediate));
    layer.matrices.extend(parts::mlp("mlps.0", hidden, width, true));
    layer.matrices.extend(parts::mlp("mlps.1", hidden, width, true));
    let nothing = context.keys.count(&["zero_expert_num"])?.unwrap_or(0);
    if let Some(router) = layer.matrices.iter_mut().find(|matrix| matrix.module == "mlp.gate") {
        router.rows += u64::from(nothing);
    }
    // Two attentions in one layer keep two vectors of a token.
    layer.mixers.truncate(1);
    if let Some(Mixer::Latent { caches, .. }) = layer.mixers.first_mut() {
        *caches = 2;
    }
    Ok(())
}

//! Gemma 3n: four streams of which one is computed (AltUp), an embedding for each layer, and last
//! layers that read the keys and values of earlier ones.

use super::assemble::{Context, attention};
use super::kinds::Kind;
use super::{Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::parts::Heads;
use crate::hardware::model::layers::{Layer, Matrix};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["gemma3n", "gemma3n_text"],
    tied: true,
    head_dim: Some(256),
    window: Some(512),
    full_every: Some(5),
    mixer,
    finish,
    adjust,
    defaults: &[
        ("vocab_size", 262_400),
        ("max_position_embeddings", 32768),
        ("hidden_size", 2048),
        ("num_hidden_layers", 35),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 2),
        ("intermediate_size", 16384),
        ("vocab_size_per_layer_input", 262_144),
        ("hidden_size_per_layer_input", 256),
        ("altup_num_inputs", 4),
        ("num_kv_shared_layers", 15),
        ("laurel_rank", 64),
    ],
    vectors: Vectors { block_norms: 4, head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    harmless: &[
        "activation_sparsity_pattern",
        "altup_active_idx",
        "altup_coef_clip",
        "altup_correct_scale",
        "altup_lr_multiplier",
        "rope_local_base_freq",
    ],
    ..LLAMA
}];

/// The embeddings of all layers, and the projections of the streams.
fn adjust(keys: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    let hidden = u64::from(spec.hidden);
    let rows = u64::from(keys.required(&["vocab_size_per_layer_input"])?);
    let width = u64::from(keys.required(&["hidden_size_per_layer_input"])?);
    let streams = u64::from(keys.required(&["altup_num_inputs"])?);
    let all = u64::from(spec.layers) * width;
    spec.other_params += rows * all + hidden * all + width + 2 * (streams - 1) * hidden * hidden;
    Ok(())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let shared = context.keys.count(&["num_kv_shared_layers"])?.unwrap_or(0);
    let Kind::Attention(reach) = kind else { return attention(context, index, kind, layer) };
    let own_cache = index + shared < context.spec.layers;
    layer.add_attention("self_attn", Heads { own_cache, ..context.heads(reach) });
    if !own_cache {
        // No keys that would be normed.
        layer.vectors -= u64::from(context.spec.head_dim);
    }
    Ok(())
}

fn finish(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let hidden = context.hidden();
    let width = u64::from(keys.required(&["hidden_size_per_layer_input"])?);
    let streams = u64::from(keys.required(&["altup_num_inputs"])?);
    let rank = u64::from(keys.required(&["laurel_rank"])?);
    layer.add(Matrix::new("laurel.linear_left", rank, hidden));
    layer.add(Matrix::new("laurel.linear_right", hidden, rank));
    layer.add(Matrix::new("per_layer_input_gate", width, hidden));
    layer.add(Matrix::new("per_layer_projection", hidden, width));
    layer.add(Matrix::new("altup.modality_router", streams, hidden).plain());
    // Coefficients and a scale of the streams; norms of router, laurel and the own embedding.
    layer.vectors += streams * streams + streams * streams * streams + 4 * hidden;
    Ok(())
}

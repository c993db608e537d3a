//! IBM's Bamba and Granite 4: Mamba 2 with a few layers of attention.

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::recurrent::{self, Mamba2};
use super::{Experts, Family, LLAMA};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Layer;

const BAMBA: Family = Family {
    model_types: &["bamba"],
    kinds: by_indices,
    mixer,
    mlp_module: "feed_forward",
    defaults: &[
        ("mamba_n_heads", 128),
        ("mamba_n_groups", 1),
        ("mamba_d_state", 256),
        ("mamba_d_conv", 4),
        ("mamba_expand", 2),
        ("max_position_embeddings", 262_144),
    ],
    harmless: &["mamba_chunk_size", "time_step_limit", "z_loss_coefficient"],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    BAMBA,
    Family {
        model_types: &["granitemoehybrid"],
        experts: Experts::ByKey,
        kinds: |keys, family, spec| match kinds::by_words(keys, family, spec)? {
            Some(kinds) => Ok(kinds),
            None => Ok(kinds::every(spec.layers, |_| false)),
        },
        mlp_module: "block_sparse_moe",
        shared_module: "shared_mlp",
        // Without experts all of the MLP is what every token meets.
        adjust: |keys, spec| {
            if spec.experts.is_none() {
                spec.intermediate = keys.required(&["shared_intermediate_size"])?;
            }
            Ok(())
        },
        ..BAMBA
    },
];

/// Attention at `attn_layer_indices`.
fn by_indices(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let listed = keys.indices("attn_layer_indices")?.unwrap_or_default();
    match kinds::by_words(keys, family, spec)? {
        Some(kinds) => Ok(kinds),
        None => Ok(kinds::every(spec.layers, |index| listed.contains(&index))),
    }
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind == FULL {
        return attention(context, index, kind, layer);
    }
    let inner = context.keys.required(&["mamba_expand"])?.saturating_mul(context.spec.hidden);
    let names =
        ["mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"];
    let shape = Mamba2::read(context, names, inner)?;
    recurrent::mamba2(context, "mamba", shape, layer)
}

//! IBM's Granite 3.

use super::assemble::Context;
use super::{Experts, Family, LLAMA, kinds};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[
    Family { model_types: &["granite"], ..LLAMA },
    Family {
        model_types: &["granitemoe", "granitemoeshared"],
        experts: Experts::ByKey,
        mlp_module: "block_sparse_moe",
        shared_module: "shared_mlp",
        ..LLAMA
    },
    Family {
        model_types: &["granitemoe_swa"],
        experts: Experts::ByKey,
        mlp_module: "block_sparse_moe",
        shared_module: "shared_mlp",
        window: Some(128),
        full_every: Some(4),
        kinds: kinds::full_first,
        finish: sinks,
        harmless: &["layer_rope_theta"],
        ..LLAMA
    },
    Family {
        model_types: &["granite_swa"],
        tied: true,
        window: Some(128),
        full_every: Some(4),
        kinds: kinds::full_first,
        finish: sinks,
        harmless: &["layer_rope_theta"],
        ..LLAMA
    },
];

/// A sink for each query head.
fn sinks(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    layer.vectors += u64::from(context.spec.q_heads);
    Ok(())
}

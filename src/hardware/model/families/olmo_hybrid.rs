//! AllenAI's OLMo Hybrid: Gated DeltaNet with attention every few layers.

use super::assemble::{Context, attention};
use super::kinds::{self, Kind};
use super::{Family, HeadNorms, LLAMA, Vectors, recurrent};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["olmo_hybrid"],
    kinds: every_fourth,
    mixer,
    defaults: &[("linear_conv_kernel_dim", 4), ("max_position_embeddings", 65536)],
    vectors: Vectors { head_norms: HeadNorms::Whole, ..LLAMA.vectors },
    harmless: &[
        "linear_a_log_min",
        "linear_a_log_max",
        "linear_dt_min",
        "linear_dt_max",
        "linear_dt_init_floor",
        "linear_allow_neg_eigval",
        "linear_use_gate",
    ],
    ..LLAMA
}];

/// Each fourth layer is of attention; of fewer than four the last.
fn every_fourth(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let short = spec.layers < 4;
    let full = |index: u32| index % 4 == 3 || (short && index + 1 == spec.layers);
    let kinds = kinds::by_words(keys, family, spec)?;
    Ok(kinds.unwrap_or_else(|| kinds::every(spec.layers, full)))
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    match kind {
        Kind::Linear => recurrent::gated_delta_net(context, false, layer),
        _ => attention(context, index, kind, layer),
    }
}

//! AllenAI's OLMo, and Karpathy's nanochat.

use super::assemble::Context;
use super::{Experts, Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

/// Takes the weights of the one norm that every block is counted with.
fn without_norm(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    layer.vectors -= context.hidden();
    Ok(())
}

const OLMO2: Family = Family {
    model_types: &["olmo2"],
    vectors: Vectors { head_norms: HeadNorms::Whole, ..LLAMA.vectors },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    OLMO2,
    // Norms without weights.
    Family {
        model_types: &["olmo"],
        vectors: Vectors { block_norms: 1, ..LLAMA.vectors },
        finish: without_norm,
        ..LLAMA
    },
    // MLPs without a gate, too.
    Family {
        model_types: &["nanochat"],
        gated: false,
        vectors: Vectors { block_norms: 1, ..LLAMA.vectors },
        finish: without_norm,
        ..LLAMA
    },
    Family { model_types: &["olmoe", "flex_olmo"], experts: Experts::ByKey, ..OLMO2 },
    Family { model_types: &["olmo3"], window: Some(4096), full_every: Some(4), ..OLMO2 },
];

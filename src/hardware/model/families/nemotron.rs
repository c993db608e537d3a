//! NVIDIA's Nemotron-4 and Minitron.

use super::{Family, LLAMA, Vectors};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["nemotron"],
    // relu2
    gated: false,
    vectors: Vectors { norm_bias: true, ..LLAMA.vectors },
    ..LLAMA
}];

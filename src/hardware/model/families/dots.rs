//! rednote's dots.llm1.

use super::{Experts, Family, HeadNorms, LLAMA, Vectors, kinds};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["dots1"],
    experts: Experts::ByKey,
    window: Some(4096),
    kinds: kinds::full_before,
    defaults: &[("max_window_layers", 62)],
    vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    ..LLAMA
}];

//! AllenAI's OLMo.

use super::{Experts, Family, HeadNorms, LLAMA, Vectors};

const OLMO2: Family = Family {
    model_types: &["olmo2"],
    vectors: Vectors { head_norms: HeadNorms::Whole, ..LLAMA.vectors },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    OLMO2,
    Family { model_types: &["olmoe"], experts: Experts::ByKey, ..OLMO2 },
    Family { model_types: &["olmo3"], window: Some(4096), full_every: Some(4), ..OLMO2 },
];

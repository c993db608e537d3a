//! IBM's Granite 3.

use super::{Experts, Family, LLAMA, kinds};

pub(super) const FAMILIES: &[Family] = &[
    Family { model_types: &["granite"], ..LLAMA },
    Family { model_types: &["granitemoe"], experts: Experts::ByKey, ..LLAMA },
    Family {
        model_types: &["granite_swa"],
        tied: true,
        window: Some(128),
        full_every: Some(4),
        kinds: kinds::full_first,
        harmless: &["layer_rope_theta"],
        ..LLAMA
    },
];

//! IBM's Granite 3.

use super::{Experts, Family, LLAMA};

pub(super) const FAMILIES: &[Family] = &[
    Family { model_types: &["granite"], ..LLAMA },
    Family { model_types: &["granitemoe"], experts: Experts::ByKey, ..LLAMA },
];

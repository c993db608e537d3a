//! Zhipu's GLM-4.

use super::{Family, Flag, LLAMA, Vectors};

const GLM: Family = Family {
    model_types: &["glm"],
    head_dim: Some(128),
    vectors: Vectors {
        qkv_bias: Flag::Key("attention_bias", true),
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    GLM,
    Family { model_types: &["glm4"], vectors: Vectors { block_norms: 4, ..GLM.vectors }, ..GLM },
];

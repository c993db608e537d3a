//! Zhipu's ChatGLM and GLM-4.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors};

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
    Family {
        model_types: &["glm4v", "glm4v_text", "glm46v"],
        head_dim: None,
        vectors: Vectors { block_norms: 4, ..GLM.vectors },
        ..GLM
    },
    Family {
        model_types: &["glm_ocr", "glm_ocr_text"],
        head_dim: None,
        vectors: Vectors { block_norms: 4, qkv_bias: Flag::Never, ..GLM.vectors },
        ..GLM
    },
    Family {
        model_types: &["glm4_moe", "glm4v_moe", "glm4v_moe_text"],
        head_dim: None,
        experts: Experts::ByKey,
        defaults: &[("first_k_dense_replace", 1), ("n_shared_experts", 1)],
        vectors: Vectors {
            head_norms: HeadNorms::PerHeadIf("use_qk_norm", false),
            qkv_bias: Flag::Key("attention_bias", false),
            ..GLM.vectors
        },
        ..GLM
    },
    Family {
        model_types: &["chatglm"],
        head_dim: None,
        vectors: Vectors {
            qkv_bias: Flag::Key("add_qkv_bias", false),
            output_bias: Flag::Key("add_bias_linear", false),
            mlp_bias: Flag::Key("add_bias_linear", false),
            ..GLM.vectors
        },
        harmless: &[
            "apply_residual_connection_post_layernorm",
            "kv_channels",
            "post_layer_norm",
            "rmsnorm",
            "apply_query_key_layer_scaling",
            "bias_dropout_fusion",
            "layernorm_epsilon",
            "rope_ratio",
            "pre_seq_len",
            "prefix_projection",
            "quantization_bit",
        ],
        adjust: |keys, spec| {
            if keys.flag("multi_query_attention") == Some(true) {
                spec.kv_heads = keys.required(&["multi_query_group_num"])?;
            }
            Ok(())
        },
        ..GLM
    },
];

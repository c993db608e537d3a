//! Llama, and families that differ from it in a flag or two.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors, kinds};

/// Class defaults of sizes.
pub(super) const SIZES: &[(&str, u32)] = &[
    ("vocab_size", 32000),
    ("hidden_size", 4096),
    ("intermediate_size", 11008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("max_position_embeddings", 2048),
];

pub(super) const FAMILIES: &[Family] = &[
    Family { model_types: &["llama", "exaone", "iquestcoder"], ..LLAMA },
    Family {
        model_types: &["hyperclovax"],
        adjust: |keys, spec| {
            if keys.flag("use_post_norm").unwrap_or(true) {
                spec.other_layer_params += 2 * u64::from(spec.hidden);
            }
            Ok(())
        },
        ..LLAMA
    },
    // Weights of three values, and norms within attention and MLP.
    Family {
        model_types: &["bitnet"],
        adjust: |_, spec| {
            spec.other_layer_params += u64::from(spec.hidden) + u64::from(spec.intermediate);
            Ok(())
        },
        ..LLAMA
    },
    // Two attentions are subtracted, weighed by four vectors.
    Family {
        model_types: &["diffllama"],
        harmless: &["lambda_std_dev"],
        adjust: |_, spec| {
            spec.other_layer_params += 4 * u64::from(spec.head_dim);
            Ok(())
        },
        ..LLAMA
    },
    Family {
        model_types: &["aria_text", "aria"],
        experts: Experts::ByKey,
        defaults: &[("moe_num_shared_experts", 2)],
        ..LLAMA
    },
    Family {
        model_types: &["smollm3"],
        tied: true,
        window_is_off: true,
        // Layers without rotary embedding cost the same.
        harmless: &["no_rope_layers", "no_rope_layer_interval", "layer_types"],
        ..LLAMA
    },
    Family {
        model_types: &["seed_oss"],
        head_dim: Some(128),
        vectors: Vectors {
            qkv_bias: Flag::Key("attention_bias", true),
            output_bias: Flag::Key("attention_out_bias", false),
            ..LLAMA.vectors
        },
        ..LLAMA
    },
    Family {
        model_types: &["cwm"],
        head_dim: Some(128),
        window: Some(8192),
        full_every: Some(4),
        kinds: kinds::full_first,
        ..LLAMA
    },
    // MLPs without a gate (relu2).
    Family { model_types: &["arcee"], gated: false, ..LLAMA },
    // MLPs without a gate (xIELU).
    Family {
        model_types: &["apertus", "apertus1p5_text", "apertus1p5"],
        gated: false,
        vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
        harmless: &["qk_norm", "post_norm"],
        ..LLAMA
    },
    Family {
        model_types: &["helium"],
        head_dim: Some(128),
        adjust: |keys, spec| {
            if spec.head_dim.saturating_mul(spec.q_heads) != spec.hidden {
                keys.not_modelled("head_dim", "heads that do not fill the width in this family");
            }
            Ok(())
        },
        ..LLAMA
    },
    Family {
        model_types: &["jais2"],
        gated: false,
        head_dim: Some(128),
        vectors: Vectors {
            norm_bias: true,
            qkv_bias: Flag::Key("attention_bias", true),
            output_bias: Flag::Key("attention_bias", true),
            mlp_bias: Flag::Key("mlp_bias", true),
            ..LLAMA.vectors
        },
        ..LLAMA
    },
    Family {
        model_types: &["internlm2"],
        vectors: Vectors {
            qkv_bias: Flag::Key("bias", false),
            output_bias: Flag::Key("bias", false),
            ..LLAMA.vectors
        },
        ..LLAMA
    },
    Family {
        model_types: &["internlm3"],
        vectors: Vectors {
            qkv_bias: Flag::Key("qkv_bias", false),
            output_bias: Flag::Key("bias", false),
            mlp_bias: Flag::Key("bias", false),
            ..LLAMA.vectors
        },
        ..LLAMA
    },
    Family { model_types: &["baichuan"], ..LLAMA },
    Family {
        model_types: &["orion"],
        vectors: Vectors { norm_bias: true, ..LLAMA.vectors },
        ..LLAMA
    },
    // Its configs are read by code of their own, whose base class ties embeddings.
    Family {
        model_types: &["minicpm"],
        tied: true,
        harmless: &["scale_emb", "dim_model_base", "scale_depth"],
        ..LLAMA
    },
    // Qwen2's blocks; what it predicts beside the next token is no part of the model.
    Family {
        model_types: &["mimo"],
        window_is_off: true,
        vectors: Vectors {
            qkv_bias: Flag::Key("attention_bias", true),
            output_bias: Flag::Never,
            ..LLAMA.vectors
        },
        ..LLAMA
    },
];

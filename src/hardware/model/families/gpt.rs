//! GPT-2 and what follows it: biases everywhere, MLPs of two matrices.

use super::{Family, Flag, LLAMA, Vectors};

/// GPT-2.
const GPT2: Family = Family {
    model_types: &["gpt2"],
    tied: true,
    gated: false,
    mlp_of_four: true,
    position_rows: Some(0),
    vectors: Vectors {
        norm_bias: true,
        qkv_bias: Flag::Always,
        output_bias: Flag::Always,
        mlp_bias: Flag::Always,
        ..LLAMA.vectors
    },
    harmless: &["n_ctx", "reorder_and_upcast_attn"],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    GPT2,
    Family {
        model_types: &["gpt_bigcode"],
        harmless: &["multi_query"],
        adjust: |keys, spec| {
            if keys.flag("multi_query").unwrap_or(true) {
                spec.kv_heads = 1;
            } else {
                spec.kv_heads = spec.q_heads;
            }
            Ok(())
        },
        ..GPT2
    },
    // Attention and MLP side by side, behind one norm.
    Family {
        model_types: &["gptj", "codegen"],
        tied: false,
        position_rows: None,
        vectors: Vectors {
            block_norms: 1,
            qkv_bias: Flag::Never,
            output_bias: Flag::Never,
            head_bias: Flag::Always,
            ..GPT2.vectors
        },
        harmless: &["rotary", "n_ctx"],
        ..GPT2
    },
    Family {
        model_types: &["gpt_neox"],
        tied: false,
        position_rows: None,
        vectors: Vectors {
            qkv_bias: Flag::Key("attention_bias", true),
            output_bias: Flag::Key("attention_bias", true),
            ..GPT2.vectors
        },
        // Both ways have the same matrices.
        harmless: &["use_parallel_residual"],
        ..GPT2
    },
    Family {
        model_types: &["opt"],
        mlp_of_four: false,
        position_rows: Some(2),
        vectors: Vectors {
            qkv_bias: Flag::Key("enable_bias", true),
            output_bias: Flag::Key("enable_bias", true),
            mlp_bias: Flag::Key("enable_bias", true),
            ..GPT2.vectors
        },
        harmless: &["do_layer_norm_before", "layer_norm_elementwise_affine"],
        adjust: |keys, spec| {
            let width = keys.optional(&["word_embed_proj_dim"])?;
            if width.is_some_and(|width| width != spec.hidden) {
                keys.not_modelled("word_embed_proj_dim", "an embedding narrower than the model");
            }
            Ok(())
        },
        ..GPT2
    },
    Family {
        model_types: &["bloom"],
        position_rows: None,
        defaults: &[("seq_length", 2048)],
        harmless: &["n_embed", "apply_residual_connection_post_layernorm"],
        adjust: |_, spec| {
            // The embedding has a norm.
            spec.other_params += 2 * u64::from(spec.hidden);
            Ok(())
        },
        ..GPT2
    },
    Family {
        model_types: &["mpt"],
        position_rows: None,
        vectors: Vectors {
            norm_bias: false,
            qkv_bias: Flag::Never,
            output_bias: Flag::Never,
            mlp_bias: Flag::Never,
            ..GPT2.vectors
        },
        // Positions are those of ALiBi, whatever `learned_pos_emb` says.
        harmless: &["learned_pos_emb", "norm_type", "embedding_fraction"],
        adjust: |keys, spec| {
            if let Some(ratio) = keys.optional(&["expansion_ratio"])? {
                spec.intermediate = ratio.saturating_mul(spec.hidden);
            }
            if keys.flag("no_bias") == Some(false) {
                keys.not_modelled("no_bias", "biases of this family");
            }
            let attention = keys.get("attn_config");
            let own = |key: &str| attention.and_then(|attention| attention.get(key));
            if own("kv_n_heads").is_some_and(|heads| *heads != spec.q_heads)
                || own("attn_type").is_some_and(|kind| *kind != "multihead_attention")
            {
                keys.not_modelled("attn_config", "attention of this kind in this family");
            }
            Ok(())
        },
        ..GPT2
    },
    Family {
        model_types: &["starcoder2"],
        mlp_of_four: false,
        position_rows: None,
        vectors: Vectors {
            qkv_bias: Flag::Key("use_bias", true),
            output_bias: Flag::Key("use_bias", true),
            mlp_bias: Flag::Key("use_bias", true),
            ..GPT2.vectors
        },
        windowed: true,
        harmless: &["mlp_type", "norm_type"],
        ..GPT2
    },
    Family {
        model_types: &["stablelm"],
        tied: false,
        gated: true,
        mlp_of_four: false,
        position_rows: None,
        vectors: Vectors {
            qkv_bias: Flag::Key("use_qkv_bias", false),
            output_bias: Flag::Never,
            mlp_bias: Flag::Never,
            ..GPT2.vectors
        },
        adjust: |keys, spec| {
            // Both halves of a block share one norm then.
            if keys.flag("use_parallel_residual") == Some(true) {
                spec.post_attn_norm = false;
                spec.other_layer_params -= u64::from(spec.hidden);
            }
            // Each head has a norm of its own.
            if keys.flag("qk_layernorm") == Some(true) {
                let heads = u64::from(spec.q_heads) + u64::from(spec.kv_heads);
                spec.other_layer_params += heads * u64::from(spec.head_dim);
            }
            Ok(())
        },
        ..GPT2
    },
];

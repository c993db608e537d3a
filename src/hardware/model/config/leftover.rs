//! Keys that no family has asked for: harmless ones are known, all others may shape the model.

use serde_json::Value;

use super::keys::Keys;

/// What a value has to be for its key to change nothing.
#[derive(Clone, Copy)]
enum Neutral {
    /// `false`, 0 or empty.
    Off,
    /// 0 or 1: every layer.
    One,
    /// Layers that all are of attention that sees everything.
    Full,
    /// Nothing: the key is only there where it means something.
    Never,
}

/// Keys that shape layers in a way that is not simulated, each with what it is about.
const SHAPING: &[(&str, Neutral, &str)] = &[
    ("layer_types", Neutral::Full, "layers of different kinds"),
    ("layers_block_type", Neutral::Full, "layers of different kinds"),
    ("hybrid_override_pattern", Neutral::Never, "layers of different kinds"),
    ("hybrid_layer_pattern", Neutral::Off, "layers of different kinds"),
    ("attn_type_list", Neutral::Full, "layers of different kinds"),
    ("block_configs", Neutral::Never, "layers of different shapes"),
    ("full_attention_interval", Neutral::One, "layers of different kinds"),
    ("full_attn_idxs", Neutral::Never, "layers of different kinds"),
    ("attn_layer_indices", Neutral::Never, "layers of different kinds"),
    ("attn_layer_period", Neutral::One, "layers of different kinds"),
    ("linear_attn_config", Neutral::Never, "linear attention"),
    ("cross_attention_layers", Neutral::Off, "cross attention"),
    ("attention_chunk_size", Neutral::Off, "attention within chunks"),
    ("sparse_attention_config", Neutral::Never, "sparse attention"),
    ("index_topk", Neutral::Off, "sparse attention"),
    ("kv_lora_rank", Neutral::Off, "latent attention (MLA)"),
    ("q_lora_rank", Neutral::Off, "latent attention (MLA)"),
    ("o_lora_rank", Neutral::Off, "latent attention (MLA)"),
    ("compress_ratios", Neutral::Off, "compressed attention"),
    ("interleave_moe_layer_step", Neutral::One, "layers with experts among others"),
    ("moe_layer_freq", Neutral::One, "layers with experts among others"),
    ("decoder_sparse_step", Neutral::One, "layers with experts among others"),
    ("expert_layer_period", Neutral::One, "layers with experts among others"),
    ("mlp_only_layers", Neutral::Off, "layers without experts among others"),
    ("mlp_layer_types", Neutral::Never, "layers without experts among others"),
    ("first_k_dense_replace", Neutral::Off, "first layers without experts"),
    ("num_dense_layers", Neutral::Off, "first layers without experts"),
    ("n_shared_experts", Neutral::Off, "experts that every token meets"),
    ("num_shared_experts", Neutral::Off, "experts that every token meets"),
    ("num_shared_expert", Neutral::Off, "experts that every token meets"),
    ("share_expert_dim", Neutral::Off, "experts that every token meets"),
    ("shared_expert_intermediate_size", Neutral::Off, "experts that every token meets"),
    ("shared_intermediate_size", Neutral::Off, "experts that every token meets"),
    ("intermediate_size_mlp", Neutral::Off, "layers without experts among others"),
    ("moe_latent_size", Neutral::Off, "experts behind a narrower projection"),
    ("num_kv_shared_layers", Neutral::Off, "layers that share keys and values"),
    ("use_cla", Neutral::Off, "layers that share keys and values"),
    ("attn_output_gate", Neutral::Off, "a gate behind attention"),
    ("attention_output_gate", Neutral::Off, "a gate behind attention"),
    ("qk_layernorm", Neutral::Off, "norms of queries and keys in this family"),
    ("multi_query", Neutral::Off, "one KV head for all queries in this family"),
    ("multi_query_attention", Neutral::Off, "fewer KV heads in this family"),
    ("n_routed_experts", Neutral::One, "experts in this family"),
    ("num_local_experts", Neutral::One, "experts in this family"),
    ("num_experts", Neutral::One, "experts in this family"),
    ("ssm_state_size", Neutral::Off, "state-space layers"),
    ("mamba_d_state", Neutral::Off, "state-space layers"),
    ("state_size", Neutral::Off, "state-space layers"),
];

/// Keys that change neither the shape of the model nor the work of a token.
const HARMLESS: &[&str] = &[
    "add_cross_attention",
    "alibi",
    "alibi_bias_max",
    "architectures",
    "attention_multiplier",
    "attention_softmax_in_fp32",
    "attn_implementation",
    "auto_map",
    "aux_loss_alpha",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "cache_implementation",
    "chunk_size_feed_forward",
    "clip_qkv",
    "config_class",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "embedding_initializer_range",
    "enable_moe_fp32_combine",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "ep_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "fp32_residual_connection",
    "gradient_checkpointing",
    "id2label",
    "ignore_index",
    "image_grid_pinpoints",
    "image_placeholder",
    "image_processor_config",
    "image_seq_length",
    "img_token_compression_config",
    "init_device",
    "init_std",
    "initial_context_length",
    "initializer_factor",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "language_model_only",
    "layerdrop",
    "length_penalty",
    "logit_scale",
    "logits_scaling",
    "max_length",
    "max_window_layers",
    "min_length",
    "mm_tokens_per_image",
    "moe_router_dtype",
    "mtp_layers",
    "mtp_transformer_layers",
    "multimodal_projector_bias",
    "n_group",
    "no_repeat_ngram_size",
    "norm_topk_prob",
    "num_beam_groups",
    "num_beams",
    "num_logits_to_keep",
    "num_mtp_modules",
    "num_nextn_predict_layers",
    "num_return_sequences",
    "offset_alibi",
    "original_max_position_embeddings",
    "original_rope",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "parallel_attn",
    "partial_rotary_factor",
    "pipeline_tag",
    "position_embedding_type",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "process_image_mode",
    "projection_hidden_size",
    "pruned_heads",
    "query_pre_attn_scalar",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "rope_interleave",
    "rotary_dim",
    "rotary_emb_base",
    "rotary_pct",
    "routed_scaling_factor",
    "runner_max_sequence_length",
    "scale_attention_softmax_in_fp32",
    "scale_attn_by_inverse_layer_idx",
    "scale_attn_weights",
    "scale_factor",
    "scoring_func",
    "seq_aux",
    "slow_but_exact",
    "spatial_merge_size",
    "suppress_tokens",
    "swiglu_alpha",
    "swiglu_limit",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "topk_group",
    "topk_method",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_mrope",
    "use_mtp",
    "use_unified_vision_chunk",
    "video_placeholder",
    "vision_config",
    "vision_feature_layer",
    "vision_feature_select_strategy",
];

/// Ends of keys that are harmless.
const HARMLESS_ENDS: &[&str] = &[
    "_token_id",
    "_token_ids",
    "_token_index",
    "dropout",
    "dropout_prob",
    "_pdrop",
    "_eps",
    "_epsilon",
    "_theta",
    "_coef",
    "_multiplier",
    "jitter_noise",
    "_softcapping",
    "layer_norm_elementwise_affine",
    "hidden_act",
    "hidden_activation",
    "activation_function",
];

/// Beginnings of keys that are harmless; those that begin with `_` are notes to readers.
const HARMLESS_STARTS: &[&str] = &[
    "_",
    "base_model_",
    "summary_",
    "image_token",
    "video_token",
    "audio_token",
    "mtp_",
    "projector_",
    "max_value_projector_",
    "alignment_",
    "downsample_",
    "vision_",
    "audio_",
];

/// Why a key is refused of which nothing is known.
pub(super) const NOT_UNDERSTOOD: &str = "a key that is not understood and may shape the model";

/// Notes each key that is left over and shapes the model, or may: unless all keys were `asked` for,
/// only what is known to shape it.
pub(super) fn check(keys: &Keys, harmless: &[&str], asked: bool) {
    for (key, value) in keys.rest() {
        let shaping = SHAPING.iter().find(|(name, ..)| *name == key);
        let neutral = shaping.map_or(Neutral::Off, |(_, neutral, _)| *neutral);
        if value.is_null() || harmless.contains(&key) || is_neutral(neutral, value) {
            continue;
        }
        match shaping {
            Some((_, _, why)) => keys.not_modelled(key, *why),
            None if !asked || is_harmless(key) => {}
            None => keys.not_modelled(key, NOT_UNDERSTOOD),
        }
    }
}

fn is_harmless(key: &str) -> bool {
    HARMLESS.contains(&key)
        || HARMLESS_ENDS.iter().any(|end| key.ends_with(end))
        || HARMLESS_STARTS.iter().any(|start| key.starts_with(start))
}

fn is_neutral(neutral: Neutral, value: &Value) -> bool {
    let off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(|value| is_neutral(Neutral::Off, value)),
        Value::Object(keys) => keys.is_empty(),
        Value::Bool(true) => false,
    };
    match neutral {
        Neutral::Never => value.is_null(),
        Neutral::Off => off,
        Neutral::One => off || value.as_f64() == Some(1.0),
        Neutral::Full => match value {
            Value::Array(kinds) => kinds.iter().all(|kind| {
                matches!(kind.as_str(), Some("full_attention" | "attention")) || *kind == 1
            }),
            _ => off,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn neutral_values_change_nothing() {
        for (neutral, value, expected) in [
            (Neutral::Off, json!(false), true),
            (Neutral::Off, json!([]), true),
            (Neutral::Off, json!([0, 0]), true),
            (Neutral::Off, json!(1), false),
            (Neutral::One, json!(1), true),
            (Neutral::One, json!(2), false),
            (Neutral::Full, json!(["full_attention", "full_attention"]), true),
            (Neutral::Full, json!(["full_attention", "sliding_attention"]), false),
            (Neutral::Full, json!([1, 1]), true),
            (Neutral::Full, json!([1, 0]), false),
            (Neutral::Never, json!(""), false),
        ] {
            assert_eq!(is_neutral(neutral, &value), expected, "{value}");
        }
    }

    #[test]
    fn harmless_keys_are_known_by_their_ends() {
        for key in ["bos_token_id", "attn_pdrop", "rms_norm_eps", "rope_theta", "_name_or_path"] {
            assert!(is_harmless(key), "{key}");
        }
        for key in ["num_widgets", "mystery", "sliding_window"] {
            assert!(!is_harmless(key), "{key}");
        }
    }
}

//! Baidu's ERNIE 4.5.

use super::{Experts, Family, Flag, LLAMA, Vectors};

const ERNIE: Family = Family {
    model_types: &["ernie4_5", "paddleocr_vl", "paddleocr_vl_text"],
    tied: true,
    head_dim: Some(128),
    vectors: Vectors {
        qkv_bias: Flag::Key("use_bias", false),
        output_bias: Flag::Key("use_bias", false),
        mlp_bias: Flag::Key("use_bias", false),
        ..LLAMA.vectors
    },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    ERNIE,
    Family {
        model_types: &["ernie4_5_moe"],
        head_dim: None,
        experts: Experts::ByKey,
        defaults: &[("moe_layer_start_index", 1), ("moe_num_shared_experts", 2)],
        harmless: &["moe_norm_min", "moe_capacity", "moe_gate", "moe_use_aux_free"],
        finish: |_, _, layer| {
            // What balances the experts.
            layer.vectors += layer.experts.map_or(0, |moe| moe.experts.into());
            Ok(())
        },
        adjust: |keys, spec| {
            if spec.experts.is_some() && keys.flag("use_bias") == Some(true) {
                keys.not_modelled("use_bias", "biases beside experts in this family");
            }
            Ok(())
        },
        ..ERNIE
    },
];

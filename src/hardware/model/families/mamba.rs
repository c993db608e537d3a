//! Mamba, Falcon-Mamba and Mamba 2: recurrences alone.

use super::assemble::{Context, all_linear};
use super::kinds::Kind;
use super::recurrent::{self, Mamba, Mamba2};
use super::{Family, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

/// A model without attention has no limit of its own; no trace has longer sequences.
const POSITIONS: (&str, u32) = ("max_position_embeddings", 1 << 20);

/// Each layer is a mixer behind one norm.
const MAMBA: Family = Family {
    model_types: &["mamba", "falcon_mamba"],
    tied: true,
    kinds: all_linear,
    mixer: mamba,
    alone: true,
    mlp_of_four: true,
    defaults: &[
        POSITIONS,
        ("num_attention_heads", 1),
        ("state_size", 16),
        ("conv_kernel", 4),
        ("expand", 2),
    ],
    vectors: Vectors { block_norms: 1, ..LLAMA.vectors },
    harmless: &[
        "use_bias",
        "use_conv_bias",
        "use_mambapy",
        "use_falcon_mambapy",
        "use_associative_scan",
        "residual_in_fp32",
        "rescale_prenorm_residual",
        "time_step_scale",
        "time_step_min",
        "time_step_max",
        "time_step_init_scheme",
        "time_step_floor",
        "time_step_limit",
        "chunk_size",
        "rms_norm",
        "norm_before_gate",
        "mixer_rms_eps",
    ],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    MAMBA,
    Family {
        model_types: &["mamba2"],
        tied: false,
        mixer: mamba2,
        defaults: &[
            POSITIONS,
            ("num_attention_heads", 1),
            ("num_heads", 128),
            ("n_groups", 8),
            ("state_size", 128),
            ("conv_kernel", 4),
            ("expand", 2),
        ],
        ..MAMBA
    },
];

fn mamba(context: &Context, _: u32, _: Kind, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let expanded = keys.required(&["expand"])?.saturating_mul(context.spec.hidden);
    let shape = Mamba {
        // A width that is written is the one that the class keeps.
        inner: keys.optional(&["intermediate_size"])?.unwrap_or(expanded),
        state: keys.required(&["state_size"])?,
        rank: recurrent::step_rank(context, "time_step_rank")?,
        kernel: keys.required(&["conv_kernel"])?,
        normed: false,
    };
    recurrent::mamba(context, "mixer", shape, layer);
    Ok(())
}

fn mamba2(context: &Context, _: u32, _: Kind, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    keys.understands(&["time_step_rank"]);
    let inner = keys.required(&["expand"])?.saturating_mul(context.spec.hidden);
    let names = ["num_heads", "head_dim", "n_groups", "state_size", "conv_kernel"];
    let shape = Mamba2::read(context, names, inner)?;
    recurrent::mamba2(context, "mixer", shape, layer)
}

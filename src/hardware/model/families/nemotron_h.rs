//! NVIDIA's Nemotron-H and Nemotron 3: each layer is Mamba 2, attention, an MLP or experts.

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::recurrent::{self, Mamba2};
use super::{Experts, Family, Flag, LLAMA, Vectors, sparsity};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Layer;

/// A letter for each layer.
const PATTERN: &str = "hybrid_override_pattern";

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["nemotron_h"],
    // relu2
    gated: false,
    head_dim: Some(128),
    experts: Experts::ByKey,
    kinds: by_letters,
    mixer,
    alone: true,
    finish,
    mlp_module: "mixer",
    defaults: &[
        ("mamba_num_heads", 128),
        ("mamba_head_dim", 64),
        ("n_groups", 8),
        ("ssm_state_size", 128),
        ("conv_kernel", 4),
        ("expand", 2),
        ("max_position_embeddings", 4096),
    ],
    vectors: Vectors {
        block_norms: 1,
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &[
        "attention_bias",
        "chunk_size",
        "mamba_hidden_act",
        "mlp_hidden_act",
        "moe_shared_expert_overlap",
        "rescale_prenorm_residual",
        "residual_in_fp32",
        "time_step_floor",
        "time_step_limit",
        "time_step_max",
        "time_step_min",
        "time_step_rank",
        "use_mamba_kernels",
        "mtp_layers_block_type",
        "mtp_hybrid_override_pattern",
        "mamba_expand",
    ],
    ..LLAMA
}];

/// `M` Mamba, `*` attention, `E` experts, `-` an MLP.
fn by_letters(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if let Some(kinds) = kinds::by_words(keys, family, spec)? {
        keys.understands(&[PATTERN]);
        return Ok(kinds);
    }
    let letters = keys.text(PATTERN).unwrap_or_default();
    let kind = |letter| match letter {
        'M' => Some(Kind::Linear),
        '*' => Some(FULL),
        'E' => Some(Kind::Moe),
        '-' => Some(Kind::Mlp),
        _ => None,
    };
    let kinds: Option<Vec<Kind>> = letters.chars().map(kind).collect();
    let expected = format!("{} letters of M, *, E and -, one for each layer", spec.layers);
    match kinds.filter(|kinds| kinds.len() == spec.layers as usize) {
        Some(kinds) => Ok(kinds),
        None => Err(keys.wrong(PATTERN, &expected)),
    }
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind != Kind::Linear {
        let at = layer.matrices.len();
        attention(context, index, kind, layer)?;
        for matrix in &mut layer.matrices[at..] {
            matrix.module = matrix.module.replace("self_attn", "mixer").into();
        }
        return Ok(());
    }
    let inner = context.keys.required(&["expand"])?.saturating_mul(context.spec.hidden);
    let names = ["mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel"];
    recurrent::mamba2(context, "mixer", Mamba2::read(context, names, inner)?, layer)
}

/// Experts behind a narrower projection, where the config has one.
fn finish(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let width = context.keys.count(&["moe_latent_size"])?.filter(|width| *width > 0);
    if let (Some(width), Some(_)) = (width, layer.experts) {
        let names = ["mixer.fc1_latent_proj", "mixer.fc2_latent_proj"];
        sparsity::behind_projection(layer, context.hidden(), width, names);
    }
    Ok(())
}

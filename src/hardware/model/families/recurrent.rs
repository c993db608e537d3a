//! Recurrent mixers that several families share: Gated DeltaNet, KDA, Mamba 1 and 2, short
//! convolutions.

use super::assemble::Context;
use crate::base::Diagnostic;
use crate::hardware::model::layers::{Layer, LinearState, Matrix, Split};

/// Bytes of an element of a state: as `mamba_ssm_dtype` says, else those of the model.
fn state_bytes(context: &Context) -> Result<u32, Box<Diagnostic>> {
    let keys = ["mamba_ssm_dtype", "mamba_ssm_cache_dtype"];
    let key = context.keys.written(&keys);
    match context.keys.text(key) {
        None | Some("bfloat16" | "float16" | "auto") => Ok(2),
        Some("float32") => Ok(4),
        Some(_) => Err(context.keys.wrong(key, "float32, bfloat16 or float16")),
    }
}

/// Gated DeltaNet (Qwen3-Next, Qwen3.5). `fused` has its inputs in two matrices rather than four.
pub(super) fn gated_delta_net(
    context: &Context,
    fused: bool,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let hidden = context.hidden();
    let key_heads = keys.required(&["linear_num_key_heads"])?;
    let value_heads = keys.required(&["linear_num_value_heads"])?;
    let key_dim = keys.required(&["linear_key_head_dim"])?;
    let value_dim = keys.required(&["linear_value_head_dim"])?;
    let kernel = keys.required(&["linear_conv_kernel_dim"])?;
    let width = |heads: u32, dim: u32| u64::from(heads) * u64::from(dim);
    let (key_width, value_width) = (width(key_heads, key_dim), width(value_heads, value_dim));
    let channels = 2 * key_width + value_width;
    let rows = |name: &'static str, rows: u64, unit: u32| {
        Matrix::new(name, rows, hidden).split(Split::Rows(unit))
    };
    let gates = u64::from(value_heads);
    if fused {
        let all = channels + value_width;
        layer.add(rows("linear_attn.in_proj_qkvz", all, value_dim));
        layer.add(rows("linear_attn.in_proj_ba", 2 * gates, 2).plain());
    } else {
        layer.add(rows("linear_attn.in_proj_qkv", channels, key_dim));
        layer.add(rows("linear_attn.in_proj_z", value_width, value_dim));
        layer.add(rows("linear_attn.in_proj_b", gates, 1).plain());
        layer.add(rows("linear_attn.in_proj_a", gates, 1).plain().joined());
    }
    let output = Matrix::new("linear_attn.out_proj", hidden, value_width);
    layer.add(output.split(Split::Columns(value_dim)));
    layer.vectors += channels * u64::from(kernel) + 2 * gates + u64::from(value_dim);
    layer.add_state(LinearState {
        name: "GatedDeltaNet",
        conv_channels: fit(channels),
        conv_inputs: kernel - 1,
        heads: value_heads,
        head_elements: key_dim.saturating_mul(value_dim),
        element_bytes: state_bytes(context)?,
    });
    Ok(())
}

/// The shape of Kimi's delta attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kda {
    pub heads: u32,
    pub dim: u32,
    pub kernel: u32,
    /// Whether the output's gate is one matrix rather than two of a head's rank.
    pub full_rank_gate: bool,
    /// The same of the decay.
    pub full_rank_decay: bool,
}

/// Kimi's delta attention (Kimi-Linear, Kimi-K3, GLM-5.3).
pub(super) fn kda(context: &Context, shape: Kda, layer: &mut Layer) {
    let Kda { heads, dim, kernel, full_rank_gate, full_rank_decay } = shape;
    let hidden = context.hidden();
    let width = u64::from(heads) * u64::from(dim);
    let unit = Split::Rows(dim);
    let name = |matrix: &str| format!("self_attn.{matrix}");
    layer.add(Matrix::new(name("q_proj"), width, hidden).split(unit));
    layer.add(Matrix::new(name("k_proj"), width, hidden).split(unit).joined());
    layer.add(Matrix::new(name("v_proj"), width, hidden).split(unit).joined());
    if full_rank_decay {
        layer.add(Matrix::new(name("f_proj"), width, hidden).split(unit));
    } else {
        layer.add(Matrix::new(name("f_a_proj"), dim.into(), hidden));
        layer.add(Matrix::new(name("f_b_proj"), width, dim.into()).split(unit));
    }
    layer.add(Matrix::new(name("b_proj"), heads.into(), hidden).split(Split::Rows(1)));
    if full_rank_gate {
        layer.add(Matrix::new(name("g_proj"), width, hidden).split(unit));
    } else {
        layer.add(Matrix::new(name("g_a_proj"), dim.into(), hidden));
        layer.add(Matrix::new(name("g_b_proj"), width, dim.into()).split(unit));
    }
    layer.add(Matrix::new(name("o_proj"), hidden, width).split(Split::Columns(dim)));
    layer.vectors += 3 * width * u64::from(kernel) + width + u64::from(heads) + u64::from(dim);
    layer.add_state(LinearState {
        name: "KDA",
        conv_channels: fit(3 * width),
        conv_inputs: kernel - 1,
        heads,
        head_elements: dim.saturating_mul(dim),
        // vLLM keeps this state in 32 bits whatever the model's type.
        element_bytes: 4,
    });
}

/// The shape of a Mamba 2 mixer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mamba2 {
    pub heads: u32,
    pub head_dim: u32,
    pub groups: u32,
    pub state: u32,
    pub kernel: u32,
    /// Whether the output is normed.
    pub normed: bool,
}

impl Mamba2 {
    /// What these keys say: heads, their width, groups, state and kernel. A width that is not a
    /// number is that of `inner` divided among the heads.
    ///
    /// # Errors
    /// A key makes no sense.
    pub fn read(
        context: &Context,
        [heads, head_dim, groups, state, kernel]: [&str; 5],
        inner: u32,
    ) -> Result<Mamba2, Box<Diagnostic>> {
        let keys = context.keys;
        let heads = keys.required(&[heads])?;
        let head_dim = match keys.get(head_dim).filter(|width| !width.is_string()) {
            Some(_) => keys.required(&[head_dim])?,
            None => inner / heads,
        };
        Ok(Mamba2 {
            heads,
            head_dim,
            groups: keys.required(&[groups])?,
            state: keys.required(&[state])?,
            kernel: keys.required(&[kernel])?,
            normed: true,
        })
    }
}

/// A Mamba 2 mixer under `module`.
pub(super) fn mamba2(
    context: &Context,
    module: &str,
    shape: Mamba2,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Mamba2 { heads, head_dim, groups, state, kernel, normed } = shape;
    let hidden = context.hidden();
    let inner = u64::from(heads) * u64::from(head_dim);
    let channels = inner + 2 * u64::from(groups) * u64::from(state);
    let input =
        Matrix::new(format!("{module}.in_proj"), inner + channels + u64::from(heads), hidden);
    layer.add(input.split(Split::Rows(1)));
    let output = Matrix::new(format!("{module}.out_proj"), hidden, inner);
    layer.add(output.split(Split::Columns(head_dim)));
    let projected = ["mamba_proj_bias", "use_bias"].iter();
    if projected.filter_map(|key| context.keys.flag(key)).any(|bias| bias) {
        layer.vectors += inner + channels + u64::from(heads) + hidden;
    }
    let bias = if context.keys.flag("mamba_conv_bias") == Some(false)
        || context.keys.flag("use_conv_bias") == Some(false)
    {
        0
    } else {
        channels
    };
    let norm = if normed { inner } else { 0 };
    layer.vectors += channels * u64::from(kernel) + bias + 3 * u64::from(heads) + norm;
    layer.add_state(LinearState {
        name: "Mamba2",
        conv_channels: fit(channels),
        conv_inputs: kernel - 1,
        heads,
        head_elements: head_dim.saturating_mul(state),
        element_bytes: state_bytes(context)?,
    });
    Ok(())
}

/// The shape of a Mamba mixer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mamba {
    pub inner: u32,
    pub state: u32,
    pub rank: u32,
    pub kernel: u32,
    /// Whether step and inputs are normed (Jamba).
    pub normed: bool,
}

/// A Mamba mixer under `module`.
pub(super) fn mamba(context: &Context, module: &str, shape: Mamba, layer: &mut Layer) {
    let Mamba { inner, state, rank, kernel, normed } = shape;
    let hidden = context.hidden();
    let width = u64::from(inner);
    let (state_width, rank_width) = (u64::from(state), u64::from(rank));
    let name = |matrix: &str| format!("{module}.{matrix}");
    layer.add(Matrix::new(name("in_proj"), 2 * width, hidden).split(Split::Rows(1)));
    let steps = Matrix::new(name("x_proj"), rank_width + 2 * state_width, width);
    layer.add(steps.split(Split::Columns(1)));
    layer.add(Matrix::new(name("dt_proj"), width, rank_width).split(Split::Rows(1)));
    layer.add(Matrix::new(name("out_proj"), hidden, width).split(Split::Columns(1)));
    // Convolution and its bias, the step's bias, A and D.
    layer.vectors += width * u64::from(kernel) + width + width + width * state_width + width;
    if normed {
        layer.vectors += rank_width + 2 * state_width;
    }
    layer.add_state(LinearState {
        name: "Mamba",
        conv_channels: inner,
        conv_inputs: kernel - 1,
        heads: inner,
        head_elements: state,
        element_bytes: 2,
    });
}

/// Jamba's and Mamba's `time_step_rank`: a number, or a sixteenth of the width for `auto`.
///
/// # Errors
/// The key makes no sense.
pub(super) fn step_rank(context: &Context, key: &str) -> Result<u32, Box<Diagnostic>> {
    match context.keys.get(key).filter(|rank| !rank.is_string()) {
        Some(_) => context.keys.required(&[key]),
        None => Ok(context.spec.hidden.div_ceil(16)),
    }
}

/// A gated short convolution over the last `kernel` tokens (LFM2).
pub(super) fn short_conv(context: &Context, kernel: u32, layer: &mut Layer) {
    let hidden = context.hidden();
    layer.add(Matrix::new("conv.in_proj", 3 * hidden, hidden).split(Split::Rows(1)));
    layer.add(Matrix::new("conv.out_proj", hidden, hidden).split(Split::Columns(1)));
    layer.vectors += hidden * u64::from(kernel);
    layer.add_state(LinearState {
        name: "ShortConv",
        conv_channels: context.spec.hidden,
        conv_inputs: kernel - 1,
        heads: 0,
        head_elements: 0,
        element_bytes: 2,
    });
}

/// Widths are bounded when a config is read; a number that is not saturates.
fn fit(width: u64) -> u32 {
    u32::try_from(width).unwrap_or(u32::MAX)
}

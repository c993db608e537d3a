//! What follows attention in each layer: an MLP, or experts with those that every token meets, by
//! the keys that families share.

use serde_json::Value;

use super::Family;
use crate::base::Diagnostic;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Matrix, Split, parts};
use crate::hardware::model::{ModelSpec, Moe};

/// What follows attention in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hardware::model) enum Mlp {
    /// An MLP of this width.
    Dense(u32),
    /// Experts, and the width of those that every token meets together.
    Experts(Moe, u32),
}

/// Widths of what every token meets beside its experts.
const SHARED_WIDTHS: [&str; 4] = [
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
];
/// Numbers of shared experts, each as wide as a routed one.
const SHARED_COUNTS: [&str; 4] =
    ["n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"];
/// Widths of the MLP in layers without experts, where other layers have some.
const DENSE_WIDTHS: [&str; 3] =
    ["intermediate_size_mlp", "dense_intermediate_size", "prefix_dense_intermediate_size"];
/// Numbers of first layers without experts.
const FIRST_DENSE: [&str; 3] =
    ["first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"];
/// Layers with experts come so far apart.
const STEPS: [&str; 3] = ["decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval"];

/// What follows attention in each layer.
///
/// # Errors
/// A key makes no sense.
pub(in crate::hardware::model) fn by_keys(
    keys: &Keys,
    spec: &ModelSpec,
) -> Result<Vec<Mlp>, Box<Diagnostic>> {
    let Some(moe) = spec.experts else {
        return Ok(vec![Mlp::Dense(spec.intermediate); spec.layers as usize]);
    };
    let width = keys.count(&DENSE_WIDTHS)?.filter(|width| *width > 0);
    let dense = Mlp::Dense(width.unwrap_or(spec.intermediate));
    let sparse = with_experts(keys, spec.layers)?;
    let experts = Mlp::Experts(moe, shared_width(keys, moe)?);
    Ok(sparse.into_iter().map(|sparse| if sparse { experts } else { dense }).collect())
}

/// The width of the experts that every token meets, together.
fn shared_width(keys: &Keys, moe: Moe) -> Result<u32, Box<Diagnostic>> {
    let width = keys.count(&SHARED_WIDTHS)?;
    let count = keys.count(&SHARED_COUNTS)?;
    Ok(match (width, count) {
        (Some(width), _) => width,
        (None, Some(count)) => count.saturating_mul(moe.moe_intermediate),
        (None, None) => 0,
    })
}

/// Whether each layer has experts.
fn with_experts(keys: &Keys, layers: u32) -> Result<Vec<bool>, Box<Diagnostic>> {
    let first = keys.count(&FIRST_DENSE)?.unwrap_or(0);
    let step = keys.count(&STEPS)?.unwrap_or(1);
    let dense = keys.indices("mlp_only_layers")?.unwrap_or_default();
    // -1 stands for the last layer.
    let last = keys.get("moe_layer_end_index").and_then(Value::as_u64);
    let list = match keys.get("moe_layer_freq") {
        Some(Value::Array(_)) => keys.numbers("moe_layer_freq", layers)?,
        _ => None,
    };
    let period = match list {
        Some(_) => None,
        None => keys.count(&["moe_layer_freq", "expert_layer_period"])?,
    };
    let offset = keys.count(&["expert_layer_offset"])?;
    let named = keys.indices("moe_layers")?.filter(|named| !named.is_empty());
    let words = keys.words(&["mlp_layer_types"], layers)?;
    let sparse = |index: u32| {
        if let Some(words) = &words {
            return words[index as usize] != "dense";
        }
        if let Some(list) = &list {
            return list[index as usize] > 0;
        }
        if let Some(named) = &named {
            return named.contains(&index);
        }
        let at = match (period, offset) {
            (Some(period), Some(offset)) if period > 0 => index % period == offset % period,
            (Some(period), None) if period > 0 => index.is_multiple_of(period),
            _ => true,
        };
        let step = step == 0 || (index + 1).is_multiple_of(step);
        let within = index >= first && last.is_none_or(|last| u64::from(index) <= last);
        within && at && step && !dense.contains(&index)
    };
    Ok((0..layers).map(sparse).collect())
}

/// Puts the experts of a layer behind a projection to `width`, and another one back.
pub(in crate::hardware::model) fn behind_projection(
    layer: &mut Layer,
    hidden: u64,
    width: u32,
    [to, from]: [&'static str; 2],
) {
    let width = u64::from(width);
    for matrix in layer.matrices.iter_mut().filter(|matrix| matrix.split == Split::Copies) {
        if matrix.columns == hidden && matrix.rows != hidden {
            matrix.columns = width;
        } else {
            matrix.rows = width;
        }
    }
    layer.add(Matrix::new(to, width, hidden));
    layer.add(Matrix::new(from, hidden, width));
}

/// Adds what follows attention.
pub(in crate::hardware::model) fn add(
    layer: &mut Layer,
    mlp: Mlp,
    family: &Family,
    spec: &ModelSpec,
) {
    let hidden = u64::from(spec.hidden);
    let module = family.mlp_module;
    match mlp {
        Mlp::Dense(width) => {
            layer.matrices.extend(parts::mlp(module, hidden, width.into(), family.gated));
        }
        Mlp::Experts(moe, shared) => {
            layer.matrices.extend(parts::experts(module, hidden, moe, family.gated));
            layer.experts = Some(moe);
            if shared > 0 {
                let name = format!("{module}.{}", family.shared_module);
                layer.matrices.extend(parts::mlp(&name, hidden, shared.into(), family.gated));
                if family.shared_gate {
                    layer.add(Matrix::new(format!("{name}_gate"), 1, hidden).plain());
                }
            }
        }
    }
}

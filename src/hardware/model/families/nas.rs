//! NVIDIA's models by neural architecture search (Nemotron Super, Ultra and Nano, DeciLM): each
//! layer has attention and an MLP of its own shape, or none.

use serde_json::Value;

use super::assemble::Context;
use super::kinds::FULL;
use super::{Family, LLAMA};
use crate::base::Diagnostic;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::parts::{self, Heads};
use crate::hardware::model::layers::{Layer, Matrix, Reach, Split};
use crate::hardware::model::{ModelSpec, layers};

/// The list of what each layer has.
const BLOCKS: &str = "block_configs";

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["nemotron-nas", "deci"],
    mlp_of_four: true,
    kinds: |_, _, spec: &ModelSpec| Ok(vec![FULL; spec.layers as usize]),
    mixer: |_, _, _, _| Ok(()),
    finish,
    adjust: |keys, spec| {
        check(keys, spec.layers)?;
        // MLPs are of the shapes in the list.
        let widest = (0..spec.layers).filter_map(|index| width(keys, index, spec.hidden)).max();
        spec.intermediate = widest.unwrap_or(spec.intermediate);
        // KV heads are in the list as well: of the first layer that has attention.
        let first = (0..spec.layers).find_map(|index| group(keys, index));
        spec.kv_heads = first.map_or(spec.kv_heads, |group| spec.q_heads / group);
        Ok(())
    },
    ..LLAMA
}];

/// The part of a layer's entry.
fn part<'k>(keys: &Keys<'k>, index: u32, part: &str) -> Option<&'k Value> {
    keys.get(BLOCKS)?.as_array()?.get(index as usize)?.get(part)
}

/// Whether an entry says so.
fn says(part: Option<&Value>, key: &str) -> bool {
    part.and_then(|part| part.get(key)).and_then(Value::as_bool) == Some(true)
}

/// Query heads that share a KV head in a layer with attention.
fn group(keys: &Keys, index: u32) -> Option<u32> {
    let heads = part(keys, index, "attention")?.get("n_heads_in_group")?.as_u64()?;
    u32::try_from(heads).ok().filter(|heads| *heads > 0)
}

/// The width of a layer's MLP: twice the factor times the hidden width, divided by 3, in whole
/// 256.
fn width(keys: &Keys, index: u32, hidden: u32) -> Option<u32> {
    let factor = part(keys, index, "ffn")?.get("ffn_mult")?.as_f64()?;
    let width = (2.0 * factor * f64::from(hidden) / 3.0) as u32;
    Some(width.div_ceil(256).saturating_mul(256))
}

/// Whether there is an entry of known kind for each layer.
fn check(keys: &Keys, layers: u32) -> Result<(), Box<Diagnostic>> {
    let expected = format!("a list of {layers} layers, each with `attention` and `ffn`");
    let list = keys.get(BLOCKS).and_then(Value::as_array);
    let Some(list) = list.filter(|list| list.len() == layers as usize) else {
        return Err(keys.wrong(BLOCKS, &expected));
    };
    for (index, block) in (0..).zip(list) {
        let (attention, mlp) = (block.get("attention"), block.get("ffn"));
        let known = |part: Option<&Value>, number: bool| {
            part.is_some() && (number || says(part, "no_op") || says(part, "replace_with_linear"))
        };
        if !known(attention, group(keys, index).is_some())
            || !known(mlp, width(keys, index, 1).is_some())
        {
            return Err(keys.wrong(BLOCKS, &expected));
        }
        let unknown = ["sparsify", "window_length", "num_sink_tokens"];
        if unknown.iter().any(|key| attention.is_some_and(|part| !is_null(part, key))) {
            keys.not_modelled(BLOCKS, format!("attention of layer {index} sees a part only"));
        }
    }
    Ok(())
}

fn is_null(part: &Value, key: &str) -> bool {
    part.get(key).is_none_or(Value::is_null)
}

/// What the layer's entry has.
fn finish(context: &Context, index: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let Context { keys, spec, .. } = context;
    let hidden = context.hidden();
    *layer = Layer::default();
    let attention = part(keys, index, "attention");
    if says(attention, "replace_with_linear") {
        layer.add(Matrix::new("self_attn.linear_attn", hidden, hidden).split(Split::Rows(1)));
        layer.vectors += hidden;
    } else if !says(attention, "no_op") {
        let kv = spec.q_heads / group(keys, index).unwrap_or(1);
        layer.add_attention("self_attn", Heads { kv, ..context.heads(Reach::All) });
        layer.vectors += hidden;
    }
    let mlp = part(keys, index, "ffn");
    if says(mlp, "replace_with_linear") {
        layer.add(layers::Matrix::new("mlp.linear_mlp", hidden, hidden).split(Split::Rows(1)));
        layer.vectors += hidden;
    } else if !says(mlp, "no_op") {
        let width = width(keys, index, spec.hidden).unwrap_or(spec.intermediate);
        layer.matrices.extend(parts::mlp("mlp", hidden, width.into(), true));
        layer.vectors += hidden;
    }
    Ok(())
}

//! Xiaomi's MiMo-V2-Flash: two shapes of heads, one for layers with a window.

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::{Experts, Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::parts::Heads;
use crate::hardware::model::layers::{Layer, Reach};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["mimo_v2_flash"],
    head_dim: Some(192),
    experts: Experts::ByKey,
    kinds: by_pattern,
    mixer,
    defaults: &[("v_head_dim", 128), ("swa_num_key_value_heads", 8), ("first_k_dense_replace", 1)],
    vectors: Vectors { qkv_bias: Flag::Never, output_bias: Flag::Never, ..LLAMA.vectors },
    harmless: &["attention_value_scale", "add_full_attention_sink_bias", "attention_bias"],
    ..LLAMA
}];

/// By `hybrid_layer_pattern`: 1 for a window.
fn by_pattern(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    // Said for kernels that work on chunks; attention sees the window.
    keys.understands(&["attention_chunk_size"]);
    const PATTERN: &str = "hybrid_layer_pattern";
    if let Some(kinds) = kinds::by_words(keys, family, spec)? {
        keys.understands(&[PATTERN]);
        return Ok(kinds);
    }
    let window = kinds::window(keys, family, spec);
    let sliding = window.map_or(FULL, |window| Kind::Attention(Reach::Window(window)));
    let kinds: Vec<Kind> = match keys.numbers(PATTERN, spec.layers)? {
        Some(pattern) => pattern.iter().map(|one| if *one == 1 { sliding } else { FULL }).collect(),
        None => {
            let full = |index: u32| index == 0 || (index + 1).is_multiple_of(6);
            (0..spec.layers).map(|i| if full(i) { FULL } else { sliding }).collect()
        }
    };
    Ok(kinds.into_iter().take(spec.layers as usize).collect())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Kind::Attention(reach) = kind else { return attention(context, index, kind, layer) };
    let Context { keys, spec, .. } = context;
    let own =
        |key: &str, other: u32| Ok::<_, Box<Diagnostic>>(keys.optional(&[key])?.unwrap_or(other));
    let value_dim = own("v_head_dim", spec.head_dim)?;
    let near = Heads {
        q: own("swa_num_attention_heads", spec.q_heads)?,
        kv: own("swa_num_key_value_heads", spec.kv_heads)?,
        key_dim: own("swa_head_dim", spec.head_dim)?,
        value_dim: own("swa_v_head_dim", value_dim)?,
        ..context.heads(reach)
    };
    let sinks = keys.flag("add_swa_attention_sink_bias").unwrap_or(true);
    if reach == Reach::All {
        layer.add_attention("self_attn", Heads { value_dim, ..context.heads(reach) });
    } else {
        layer.add_attention("self_attn", near);
        layer.vectors += if sinks { u64::from(near.q) } else { 0 };
    }
    Ok(())
}

//! RecurrentGemma: gated linear recurrences (RG-LRU) with attention to a window.

use super::assemble::{Context, attention};
use super::kinds::{self, FULL, Kind};
use super::{Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, LinearState, Matrix, Reach, Split};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["recurrent_gemma"],
    tied: true,
    window: Some(2048),
    kinds: by_turns,
    mixer,
    defaults: &[("conv1d_width", 4), ("max_position_embeddings", 1 << 20)],
    vectors: Vectors { output_bias: Flag::Always, mlp_bias: Flag::Always, ..LLAMA.vectors },
    harmless: &[
        "block_types",
        "_block_types",
        "w_init_variance_scale",
        "final_w_init_variance_scale",
        "logits_soft_cap",
    ],
    adjust: |_, spec| {
        // The config has the width of both inputs of the MLP together.
        let halved = u64::from(spec.intermediate / 2);
        spec.other_layer_params -= 2 * (u64::from(spec.intermediate) - halved);
        spec.intermediate /= 2;
        Ok(())
    },
    ..LLAMA
}];

/// The kinds of `block_types` in turns.
fn by_turns(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let key = keys.written(&["block_types", "_block_types"]);
    let turns: Vec<&str> = match keys.get(key).and_then(serde_json::Value::as_array) {
        Some(turns) => turns.iter().filter_map(serde_json::Value::as_str).collect(),
        None => vec!["recurrent", "recurrent", "attention"],
    };
    if turns.is_empty() || turns.iter().any(|turn| !["recurrent", "attention"].contains(turn)) {
        return Err(keys.wrong(key, "a list of `recurrent` and `attention`"));
    }
    let window = kinds::window(keys, family, spec);
    let sliding = window.map_or(FULL, |window| Kind::Attention(Reach::Window(window)));
    let kind = |turn: &&str| if *turn == "recurrent" { Kind::Linear } else { sliding };
    Ok(turns.iter().map(kind).cycle().take(spec.layers as usize).collect())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind != Kind::Linear {
        return attention(context, index, kind, layer);
    }
    let keys = context.keys;
    let kernel = keys.required(&["conv1d_width"])?;
    let lru = keys.optional(&["lru_width"])?.unwrap_or(context.spec.hidden);
    let (hidden, width) = (context.hidden(), u64::from(lru));
    let name = |matrix: &str| format!("temporal_block.{matrix}");
    layer.add(Matrix::new(name("linear_y"), width, hidden).split(Split::Rows(1)));
    layer.add(Matrix::new(name("linear_x"), width, hidden).split(Split::Rows(1)).joined());
    layer.add(Matrix::new(name("linear_out"), hidden, width).split(Split::Columns(1)));
    // Two gates, block by block of the width, each with a bias.
    let block = width / u64::from(context.spec.q_heads);
    let gates = 2 * u64::from(context.spec.q_heads) * block * block + 2 * width;
    let biases = 2 * width + hidden;
    let conv = width * u64::from(kernel) + width;
    layer.vectors += gates + biases + conv + width;
    layer.add_state(LinearState {
        name: "RG-LRU",
        conv_channels: lru,
        conv_inputs: kernel - 1,
        heads: lru,
        head_elements: 1,
        element_bytes: 4,
    });
    Ok(())
}

//! A device's operator tables, for any model, from the layers of one.
//!
//! A layer's projections are matrix products of known shape, its attention is of one layout of
//! heads. That is little beside a sweep over shapes: other models' operators are transferred from
//! these, and a run says so. Nothing is known of experts, communication and fp8.

use crate::hardware::DeviceSpec;
use crate::hardware::model::ModelSpec;
use crate::profile::format::Provenance;
use crate::profile::grid::{Grid, THINNED};
use crate::profile::layerwise::{
    LayerwiseAttention, LayerwiseRank, LayerwiseTables, TokenOperator,
};
use crate::profile::operators::{AttentionTable, Between, Dtype, GemmTable, OperatorTables};
use crate::timing::data_sheet;

/// The tables of `device` from the layers of `model`.
pub(super) fn operators(
    model: &ModelSpec,
    device: &DeviceSpec,
    layers: &LayerwiseTables,
) -> OperatorTables {
    let source = &layers.engine;
    let mut gemm = Grid::default();
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for rank in &layers.ranks {
        products(model, rank, &mut gemm);
        let share = |heads: u32| heads.div_ceil(rank.tensor_parallel);
        let (q, kv) = (share(model.q_heads), share(model.kv_heads));
        let least = |requests: u32, context: u32| {
            let moved = 2 * 2 * u64::from(kv) * u64::from(model.head_dim);
            let bytes = moved * u64::from(requests) * u64::from(context);
            bytes as f64 / (device.hbm_gbps * 1e3)
        };
        let table = |grid: &Grid, between, what: &str| AttentionTable {
            kv_dtype: Dtype::Bf16,
            head_dim: model.head_dim,
            kv_heads: if q == kv { 0 } else { kv },
            table: grid.table(2, between, &format!("{source}{what}")),
        };
        let whole = prompts(&rank.attention, q);
        prefill.push(table(&whole, Between::SquareRoot, ""));
        let tokens = decodes(&rank.attention, q, least);
        decode.push(table(&tokens, Between::Linear, ""));
    }
    OperatorTables {
        thinned: THINNED,
        peak: data_sheet(device),
        gemm: vec![GemmTable { dtype: Dtype::Bf16, table: gemm.table(2, Between::Linear, source) }],
        prefill,
        decode,
        experts: Vec::new(),
        collectives: Vec::new(),
    }
}

/// Says in `provenance` what the tables hold, and what they do not.
pub(super) fn describe(provenance: &mut [Provenance], model: &ModelSpec, layers: &LayerwiseTables) {
    for entry in provenance {
        entry.covers = format!(
            "GEMM and attention, from the layers of {} alone; no experts, communication or fp8",
            model.name
        );
        entry.source = format!("{}, {}", entry.source, layers.engine);
    }
}

/// The matrix products of a layer, and the LM head, by their N and K.
fn products(model: &ModelSpec, rank: &LayerwiseRank, gemm: &mut Grid) {
    let share = |count: u32| count.div_ceil(rank.tensor_parallel);
    let (q, kv) = (share(model.q_heads), share(model.kv_heads));
    let width = share(model.intermediate);
    let inputs = if model.gated_mlp { 2 } else { 1 };
    let hidden = model.hidden;
    for (operator, shape) in [
        (TokenOperator::QkvProj, [(q + 2 * kv) * model.head_dim, hidden]),
        (TokenOperator::OProj, [hidden, q * model.head_dim]),
        (TokenOperator::GateUpProj, [inputs * width, hidden]),
        (TokenOperator::DownProj, [hidden, width]),
    ] {
        let Some(us) = rank.per_tokens.us.get(&operator) else { continue };
        for (tokens, us) in rank.per_tokens.tokens.iter().zip(us) {
            gemm.add(shape, *tokens, *us);
        }
    }
    let head = &rank.per_sequences.lm_head;
    for (requests, us) in head.x.iter().zip(&head.us) {
        gemm.add([share(model.vocab), hidden], *requests, *us);
    }
}

/// Prompts alone: in one chunk as far as chunks were measured, longer ones as the sum of the
/// longest chunks, each on those before it.
fn prompts(attention: &LayerwiseAttention, q: u32) -> Grid {
    let mut grid = Grid::default();
    let alone = attention.slices.iter().filter(|slice| slice.0 > 0 && slice.1 == 0);
    let mut longest: Option<(u32, Vec<(u32, f64)>)> = None;
    for slice in alone {
        let on_context: Vec<(u32, f64)> =
            slice.2.iter().filter_map(|row| Some((row.0, *row.2.first()?))).collect();
        if let Some((_, us)) = on_context.iter().find(|(context, _)| *context == 0) {
            grid.add([q, 1], slice.0, *us);
        }
        longest = Some((slice.0, on_context));
    }
    let Some((chunk, on_context)) = longest else { return grid };
    let mut sum = 0.0;
    for chunks in 0.. {
        let context = chunk * chunks;
        let Some(us) = between(&on_context, context) else { return grid };
        sum += us;
        grid.add([q, 1], context + chunk, sum);
    }
    grid
}

/// The value at `x` on the line between its neighbours; none beyond the last point.
fn between(points: &[(u32, f64)], x: u32) -> Option<f64> {
    let above = points.iter().position(|(at, _)| *at >= x)?;
    let (x1, y1) = points[above];
    if x1 == x || above == 0 {
        return Some(y1);
    }
    let (x0, y0) = points[above - 1];
    Some(Between::Linear.at(f64::from(x), (f64::from(x0), y0), (f64::from(x1), y1)))
}

/// Decoding requests alone. The context counts the new token, which the bundle's does not. Times
/// below what it takes to read the cache from memory, `least`, are raised to that: the kernel ran
/// several times on the same data, which other layers would have driven out of the cache.
fn decodes(attention: &LayerwiseAttention, q: u32, least: impl Fn(u32, u32) -> f64) -> Grid {
    let mut grid = Grid::default();
    for slice in attention.slices.iter().filter(|slice| slice.0 == 0 && slice.1 > 0) {
        for row in &slice.2 {
            let Some(axis) = attention.axes.get(row.1) else { continue };
            for (context, us) in axis.iter().zip(&row.2) {
                grid.add([q, slice.1], context + 1, us.max(least(slice.1, *context)));
            }
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::layerwise::{AttentionRow, AttentionSlice};

    #[test]
    fn long_prompts_are_sums_of_chunks() {
        let row = |context, us: f64| AttentionRow(context, 0, vec![us]);
        let attention = LayerwiseAttention {
            axes: vec![vec![0], vec![16, 64]],
            slices: vec![
                AttentionSlice(0, 4, vec![AttentionRow(0, 1, vec![3.0, 4.0])]),
                AttentionSlice(8, 0, vec![row(0, 2.0), row(8, 3.0)]),
                AttentionSlice(16, 0, vec![row(0, 5.0), row(8, 7.0), row(16, 9.0), row(48, 17.0)]),
            ],
        };
        // 5, then 5 + 9, 14 + 13 and 27 + 17; nothing on a context of 64.
        let table = prompts(&attention, 32).table(2, Between::Linear, "nobody");
        assert_eq!(table.axis, [8, 16, 32, 48, 64]);
        assert_eq!(table.rows, "\n32 1 2 5 14 27 44\n");
        let table = decodes(&attention, 32, |_, context| f64::from(context) / 10.0).table(
            2,
            Between::Linear,
            "nobody",
        );
        assert_eq!((table.axis.as_slice(), table.rows.as_str()), (&[17, 65][..], "\n32 4 3 6.4\n"));
    }
}

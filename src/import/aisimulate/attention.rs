//! Attention of prefill and decode.
//!
//! The first engine's tables come first. Its decode tables with one KV head per query head stop at
//! few heads, although times beyond cannot be concluded from these: a kernel that does not split
//! the context over the device takes as long for 8 heads as for 32. So for every layout (width of
//! a head, KV heads, type of the cache) the tables of other engines on the same GPU
//! follow, from the largest number of heads of the table before on.

use std::collections::BTreeMap;

use crate::import::aisimulate::parquet_file::{Record, for_each};
use crate::import::aisimulate::{ENGINE, Import};
use crate::profile::ProfileError;
use crate::profile::grid::Grid;
use crate::profile::operators::{AttentionTable, Between, Dtype, Peak};

/// Widths of heads that are taken.
const HEAD_DIMS: [u32; 3] = [64, 128, 256];

/// Layout of heads: type of the cache, width, KV heads (0 for as many as query heads).
type Layout = (Dtype, u32, u32);

/// The two kinds of attention, and how their tables differ.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Prefill,
    Decode,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Kind::Prefill => "context_attention_perf.parquet",
            Kind::Decode => "generation_attention_perf.parquet",
        }
    }

    fn between(self) -> Between {
        match self {
            Kind::Prefill => Between::SquareRoot,
            Kind::Decode => Between::Linear,
        }
    }
}

pub(super) fn import(import: &mut Import) -> Result<(), ProfileError> {
    for (kind, covers) in [(Kind::Prefill, "prefill attention"), (Kind::Decode, "decode attention")]
    {
        let mut reached: BTreeMap<Layout, u32> = BTreeMap::new();
        for (source, engine, version) in sources(import, kind) {
            let (file, bytes) = import.system.table("attention", engine, &version, kind.file())?;
            let mut grids: BTreeMap<Layout, Grid> = BTreeMap::new();
            let peak = import.tables.peak;
            for_each(bytes, &file, |row| add(kind, &peak, row, &mut grids))?;
            let mut used = false;
            for (layout, grid) in &mut grids {
                if let Some(reached) = reached.get(layout) {
                    // One row below, so that what lies between has a neighbour of the same source.
                    let below = grid.keys().map(|[q, _]| q).filter(|q| q <= reached).max();
                    let highest = grid.keys().map(|[q, _]| q).max();
                    if highest <= Some(*reached) {
                        continue;
                    }
                    grid.retain(|[q, _]| Some(q) >= below);
                }
                grid.sort();
                let highest = grid.keys().map(|[q, _]| q).max().unwrap_or(0);
                let table = AttentionTable {
                    kv_dtype: layout.0,
                    head_dim: layout.1,
                    kv_heads: layout.2,
                    table: grid.table(2, kind.between(), &source),
                };
                match kind {
                    Kind::Prefill => import.tables.prefill.push(table),
                    Kind::Decode => import.tables.decode.push(table),
                }
                reached.insert(*layout, highest);
                used = true;
            }
            if used {
                import.note(covers, &format!("AISimulate, {source}"), vec![file]);
            }
        }
    }
    Ok(())
}

/// Where attention of this kind was measured, the best source first: the engine itself, then the
/// engine with the same kernels (FlashAttention or FlashInfer), then TensorRT-LLM. Later versions
/// of the first engine are left out: beyond 8 heads they were measured on 12, 24, 48 and 96, which
/// hardly any model has.
fn sources(import: &Import, kind: Kind) -> Vec<(String, &'static str, String)> {
    let system = &import.system;
    let mut all = Vec::new();
    let first = system.version_up_to("attention", ENGINE, kind.file(), import.engine_version);
    all.extend(first.map(|version| (format!("vLLM {version}"), ENGINE, version)));
    for (name, engine) in [("SGLang", "sglang"), ("TensorRT-LLM", "trtllm")] {
        let newest = system.versions("attention", engine, kind.file()).pop();
        all.extend(newest.map(|version| (format!("{name} {version}"), engine, version)));
    }
    all
}

fn add(
    kind: Kind,
    peak: &Peak,
    row: &Record,
    grids: &mut BTreeMap<Layout, Grid>,
) -> Result<(), ProfileError> {
    let kv_dtype = match row.text("kv_cache_dtype") {
        "bfloat16" => Dtype::Bf16,
        "fp8" => Dtype::Fp8,
        _ => return Ok(()),
    };
    let head_dim = row.count("head_dim")?;
    let windowed = row.count_or("window_size", Some(0))? != 0;
    if row.text("attn_dtype") != "bfloat16" || windowed || !HEAD_DIMS.contains(&head_dim) {
        return Ok(());
    }
    let (q_heads, kv_heads) = (row.count("num_heads")?, row.count("num_key_value_heads")?);
    let requests = row.count("batch_size")?;
    let tokens = row.count("isl")? + row.count_or("step", Some(0))?;
    let mut us = row.micros("latency")?;
    if kind == Kind::Decode {
        us = us
            .max(decode_roofline_us(peak, kv_dtype, head_dim, q_heads, kv_heads, requests, tokens));
    }
    let layout = (kv_dtype, head_dim, if q_heads == kv_heads { 0 } else { kv_heads });
    grids.entry(layout).or_default().add([q_heads, requests], tokens, us);
    Ok(())
}

/// The least time of a decode step in microseconds: the cache is read once.
fn decode_roofline_us(
    peak: &Peak,
    kv_dtype: Dtype,
    head_dim: u32,
    q_heads: u32,
    kv_heads: u32,
    requests: u32,
    tokens: u32,
) -> f64 {
    let context = f64::from(tokens.saturating_sub(1));
    let cache = 2.0 * f64::from(kv_heads) * context * f64::from(head_dim) * kv_dtype.bytes();
    let queries = 4.0 * f64::from(q_heads) * f64::from(head_dim) * 2.0 / 2.0;
    f64::from(requests) * (cache + queries) / (peak.memory_gbps * 1e3)
}

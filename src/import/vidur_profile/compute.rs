//! A model's operators: Vidur's `mlp.csv` and `attention.csv`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::hardware::model::ModelSpec;
use crate::import::vidur_profile::points::Points;
use crate::import::vidur_profile::table::{Column, CsvTable, Row};
use crate::profile::ProfileError;
use crate::profile::format::{
    AttentionTables, ModelTables, Operator, RankTables, Shape, TokenTables, Transferred,
};
use crate::profile::operators::OperatorTables;
use crate::timing::attention_surfaces;

/// The model's tables for every tensor-parallel degree that both files have.
pub(super) fn read(
    model: &ModelSpec,
    vocab: u32,
    block_size: u32,
    mlp: &Path,
    attention: &Path,
) -> Result<ModelTables, ProfileError> {
    let mut per_tokens = read_mlp(&CsvTable::read(mlp)?, model, vocab)?;
    let table = CsvTable::read(attention)?;
    let ranks: Vec<RankTables> = read_attention(&table, model, block_size)?
        .into_iter()
        .filter_map(|(tensor_parallel, attention)| {
            let per_tokens = per_tokens.remove(&tensor_parallel)?;
            Some(RankTables { tensor_parallel, per_tokens, attention })
        })
        .collect();
    if ranks.is_empty() {
        let wanted = "a number of tensor-parallel workers that mlp.csv has, too".to_owned();
        return Err(table.nothing_measured(wanted));
    }
    Ok(tables(model, ranks))
}

/// The model's tables for every tensor-parallel degree of `mlp`, with attention from the tables of
/// the device, and which of these it rests on (decode, prefill).
pub(super) fn read_with_operators(
    model: &ModelSpec,
    vocab: u32,
    block_size: u32,
    mlp: &Path,
    operators: &OperatorTables,
) -> Result<(ModelTables, [String; 2]), ProfileError> {
    let per_tokens = read_mlp(&CsvTable::read(mlp)?, model, vocab)?;
    let mut sources = [String::new(), String::new()];
    let mut ranks = Vec::new();
    for (tensor_parallel, per_tokens) in per_tokens {
        let share = |heads: u32| heads.div_ceil(tensor_parallel);
        let (q, kv) = (share(model.q_heads), share(model.kv_heads));
        let found = attention_surfaces(operators, q, kv, model.head_dim)
            .map_err(|why| ProfileError::Options(format!("attention from operators: {why}")))?;
        if ranks.is_empty() {
            sources = [found.decode_source.clone(), found.prefill_source.clone()];
        }
        let attention = AttentionTables {
            block_size,
            kernel: found.prefill_source,
            decode: found.decode,
            prefill: found.prefill,
            kv_cache_save: None,
            transferred: Some(Transferred { decode: found.decode_transferred, prefixes: true }),
        };
        ranks.push(RankTables { tensor_parallel, per_tokens, attention });
    }
    Ok((tables(model, ranks), sources))
}

fn tables(model: &ModelSpec, ranks: Vec<RankTables>) -> ModelTables {
    ModelTables {
        name: model.name.to_string(),
        shape: Shape {
            hidden: model.hidden,
            q_heads: model.q_heads,
            kv_heads: model.kv_heads,
            intermediate: model.intermediate,
            gated_mlp: model.gated_mlp,
        },
        ranks,
    }
}

/// Conditions on whole-number columns.
struct Filter(Vec<(Column, &'static str, u32)>);

impl Filter {
    fn new(table: &CsvTable, wanted: &[(&'static str, u32)]) -> Result<Filter, ProfileError> {
        let with_column =
            |&(name, value): &(&'static str, u32)| Ok((table.column(name)?, name, value));
        wanted.iter().map(with_column).collect::<Result<_, _>>().map(Filter)
    }

    fn accepts(&self, row: Row) -> Result<bool, ProfileError> {
        for (column, _, value) in &self.0 {
            if row.integer(*column)? != *value {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn describe(&self) -> String {
        let conditions: Vec<_> =
            self.0.iter().map(|(_, name, value)| format!("{name} = {value}")).collect();
        conditions.join(", ")
    }
}

/// Operators that depend on tokens alone, by tensor-parallel degree.
fn read_mlp(
    table: &CsvTable,
    model: &ModelSpec,
    vocab: u32,
) -> Result<BTreeMap<u32, TokenTables>, ProfileError> {
    let filter = Filter::new(
        table,
        &[
            ("n_head", model.q_heads),
            ("n_kv_head", model.kv_heads),
            ("n_embd", model.hidden),
            ("n_expanded_embd", model.intermediate),
            ("vocab_size", vocab),
        ],
    )?;
    let gated = table.column("use_gated_mlp")?;
    let workers = table.column("num_tensor_parallel_workers")?;
    let tokens = table.column("num_tokens")?;
    let mut operators = Vec::new();
    for operator in Operator::ALL {
        let name = format!("time_stats.{}.median", operator.name());
        // The embedding is not part of Vidur's composition: it is taken along where it is there.
        match table.column(&name) {
            Ok(column) => operators.push((operator, column)),
            Err(_) if operator == Operator::Emb => {}
            Err(error) => return Err(error),
        }
    }
    let mut points: BTreeMap<u32, BTreeMap<Operator, Points>> = BTreeMap::new();
    for row in table.rows() {
        if !filter.accepts(row)? || row.boolean(gated)? != model.gated_mlp {
            continue;
        }
        let of_rank = points.entry(row.integer(workers)?).or_default();
        for (operator, column) in &operators {
            let us = row.microseconds(*column)?;
            of_rank.entry(*operator).or_default().add(0, row.integer(tokens)?, us);
        }
    }
    if points.is_empty() {
        return Err(table.nothing_measured(filter.describe()));
    }
    Ok(points.into_iter().map(|(workers, of_rank)| (workers, token_tables(&of_rank))).collect())
}

fn token_tables(points: &BTreeMap<Operator, Points>) -> TokenTables {
    let mut tokens = Vec::new();
    let mut us = BTreeMap::new();
    for (operator, points) in points {
        // Each row has all operators, so the axes are equal.
        let curve = points.curve();
        tokens = curve.x;
        us.insert(*operator, curve.us);
    }
    TokenTables { tokens, us }
}

/// Attention measurements of one tensor-parallel degree.
#[derive(Default)]
struct Attention {
    kernel: String,
    decode: Points,
    prefill: Points,
    kv_cache_save: Points,
}

/// Attention kernels by tensor-parallel degree.
fn read_attention(
    table: &CsvTable,
    model: &ModelSpec,
    block_size: u32,
) -> Result<BTreeMap<u32, AttentionTables>, ProfileError> {
    let filter = Filter::new(
        table,
        &[
            ("n_embd", model.hidden),
            ("n_q_head", model.q_heads),
            ("n_kv_head", model.kv_heads),
            ("block_size", block_size),
        ],
    )?;
    let workers = table.column("num_tensor_parallel_workers")?;
    let requests = table.column("batch_size")?;
    let chunk = table.column("prefill_chunk_size")?;
    let context = table.column("kv_cache_size")?;
    let kernel = table.column("attention_backend")?;
    let prefill_time = table.column("time_stats.attn_prefill.median")?;
    let decode_time = table.column("time_stats.attn_decode.median")?;
    let save_time = table.optional_column("time_stats.attn_kv_cache_save.median");

    let mut by_workers: BTreeMap<u32, Attention> = BTreeMap::new();
    for row in table.rows() {
        if !filter.accepts(row)? {
            continue;
        }
        let attention = by_workers.entry(row.integer(workers)?).or_default();
        attention.kernel = row.text(kernel).trim_start_matches("AttentionBackend.").to_owned();
        let (requests, chunk) = (row.integer(requests)?, row.integer(chunk)?);
        let context = row.integer(context)?;
        // A row without a chunk measured decoding.
        if chunk == 0 {
            attention.decode.add(requests, context, row.microseconds(decode_time)?);
        } else {
            attention.prefill.add(chunk, context, row.microseconds(prefill_time)?);
        }
        if let Some(save_time) = save_time {
            attention.kv_cache_save.add(0, chunk.max(requests), row.microseconds(save_time)?);
        }
    }
    if by_workers.is_empty() {
        return Err(table.nothing_measured(filter.describe()));
    }
    let mut tables = BTreeMap::new();
    for (workers, attention) in by_workers {
        for (points, what) in [(&attention.decode, "= 0"), (&attention.prefill, "> 0")] {
            if points.is_empty() {
                let wanted =
                    format!("num_tensor_parallel_workers = {workers}, prefill_chunk_size {what}");
                return Err(table.nothing_measured(wanted));
            }
        }
        let save = &attention.kv_cache_save;
        let entry = AttentionTables {
            block_size,
            kernel: attention.kernel,
            decode: attention.decode.surface(),
            prefill: attention.prefill.surface(),
            kv_cache_save: (!save.is_empty()).then(|| save.curve()),
            transferred: None,
        };
        tables.insert(workers, entry);
    }
    Ok(tables)
}

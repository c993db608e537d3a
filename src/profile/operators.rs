//! Operator tables of a device: what any model's pass is composed from.
//!
//! A table is a common axis and rows of times along it. Rows are kept as text, one line each
//! (`key key us us us ...`), so that a file of 100,000 numbers is read in a few milliseconds: only
//! the tables that a model needs are ever parsed ([`Table::rows`]).

use serde::Deserialize;

/// Measured operators of one device, for any model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTables {
    /// Points were left out where interpolating between their neighbours is at most this far off,
    /// as a share of the time.
    pub thinned: f64,
    /// What the device can do, for transfers to shapes that were not measured.
    pub peak: Peak,
    /// Matrix products, by (N, K) along M.
    pub gemm: Vec<GemmTable>,
    /// Attention of new tokens on themselves: by (query heads, requests) along tokens per request.
    pub prefill: Vec<AttentionTable>,
    /// Attention of one new token per request: by (query heads, requests) along context.
    pub decode: Vec<AttentionTable>,
    /// The experts of a mixture, by GPUs of a tensor-parallel group along tokens.
    #[serde(default)]
    pub experts: Vec<ExpertsTable>,
    /// Collectives within a node, by GPUs along message bytes.
    #[serde(default)]
    pub collectives: Vec<CollectiveTable>,
}

/// What a device can do at best, as the source of the tables states it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// 10^12 dense bf16 FLOP/s.
    pub bf16_tflops: f64,
    /// 10^12 dense fp8 FLOP/s; 0 if there is no fp8.
    pub fp8_tflops: f64,
    /// 10^9 bytes/s of device memory.
    pub memory_gbps: f64,
    /// 10^9 bytes/s from one GPU to others of its node.
    pub intra_node_gbps: f64,
    /// 10^9 bytes/s from one GPU to another node.
    pub inter_node_gbps: f64,
    /// GPUs in a node.
    pub gpus_per_node: u32,
}

/// Type of an operator's inputs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize,
)]
pub enum Dtype {
    /// 16-bit brain float (fp16 takes the same time).
    #[default]
    Bf16,
    /// 8-bit float.
    Fp8,
    /// 8-bit integer, of a KV cache.
    Int8,
}

impl Dtype {
    /// Bytes of an element.
    pub fn bytes(self) -> f64 {
        match self {
            Dtype::Bf16 => 2.0,
            Dtype::Fp8 | Dtype::Int8 => 1.0,
        }
    }

    /// The name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bf16 => "bf16",
            Dtype::Fp8 => "fp8",
            Dtype::Int8 => "int8",
        }
    }
}

/// An axis and rows along it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Who measured: `vLLM 0.24.0`.
    pub source: String,
    /// The points, ascending.
    pub axis: Vec<u32>,
    /// One line per row: its keys, then a time in microseconds per point; `.` stands for a point
    /// that lies between its neighbours, `-` for one that was not measured.
    pub rows: String,
}

/// Times of matrix products `[M, K] x [K, N]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GemmTable {
    /// Number format of both inputs.
    pub dtype: Dtype,
    /// Keys: N, K. Axis: M.
    pub table: Table,
}

/// Times of attention over requests of equal length, for one layout of heads.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionTable {
    /// Number format of the KV cache (queries are bf16).
    pub kv_dtype: Dtype,
    /// Width of a head.
    pub head_dim: u32,
    /// Key/value heads; 0 for as many as there are query heads.
    pub kv_heads: u32,
    /// Keys: query heads, requests. Axis: tokens of each request.
    pub table: Table,
}

/// Times of a mixture's experts (both products and the activation).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertsTable {
    /// Number format of weights and activations.
    pub dtype: Dtype,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Width of an expert.
    pub intermediate: u32,
    /// Experts.
    pub experts: u32,
    /// Experts per token.
    pub top_k: u32,
    /// How tokens were spread over experts: `power_law_1.01`.
    pub routing: String,
    /// Keys: GPUs that share each expert. Axis: tokens.
    pub table: Table,
}

/// An operation among the GPUs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Collective {
    /// Sum over GPUs, to all.
    AllReduce,
    /// Everyone's part, to all.
    AllGather,
    /// Sum over GPUs, a part to each.
    ReduceScatter,
    /// A part from each to each.
    AllToAll,
}

/// Times of a collective.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectiveTable {
    /// Which.
    pub operation: Collective,
    /// `custom` for the engine's own kernel, `nccl`.
    pub library: String,
    /// Keys: GPUs. Axis: bytes of the message.
    pub table: Table,
}

/// How times run between points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Linearly.
    Linear,
    /// The square root of the time runs linearly, as for work quadratic in the axis.
    SquareRoot,
}

impl Between {
    /// The value at `x` between `(x0, y0)` and `(x1, y1)`.
    pub fn at(self, x: f64, (x0, y0): (f64, f64), (x1, y1): (f64, f64)) -> f64 {
        let share = (x - x0) / (x1 - x0);
        match self {
            Between::Linear => y0 + (y1 - y0) * share,
            Between::SquareRoot => {
                let root = y0.sqrt() + (y1.sqrt() - y0.sqrt()) * share;
                root * root
            }
        }
    }
}

/// A parsed row.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// Its keys; unused ones are 0.
    pub keys: [u32; 2],
    /// The points that were measured, ascending.
    pub x: Vec<f64>,
    /// Microseconds there.
    pub us: Vec<f64>,
}

impl Table {
    /// Parses the rows, each with `keys` (1 or 2) keys.
    ///
    /// # Errors
    /// Says which line is wrong and why.
    pub fn rows(&self, keys: usize, between: Between) -> Result<Vec<SampleRow>, String> {
        let lines = self.rows.lines().enumerate().filter(|(_, line)| !line.is_empty());
        lines
            .map(|(index, line)| {
                self.row(line, keys, between).map_err(|why| format!("row {index}: {why}"))
            })
            .collect()
    }

    fn row(&self, line: &str, keys: usize, between: Between) -> Result<SampleRow, String> {
        let mut words = line.split_ascii_whitespace();
        let mut row =
            SampleRow { keys: [0; 2], x: Vec::new(), us: Vec::with_capacity(self.axis.len()) };
        for key in row.keys.iter_mut().take(keys) {
            let word = words.next().ok_or("a key is missing")?;
            *key = word.parse().map_err(|_| format!("`{word}` is no key"))?;
        }
        // Left-out points are remembered as NaN until the next known one.
        let mut known: Option<usize> = None;
        let mut points = 0;
        for (index, word) in words.enumerate() {
            let x = f64::from(*self.axis.get(index).ok_or("more times than points")?);
            points += 1;
            match word {
                "-" => {}
                "." => {
                    row.x.push(x);
                    row.us.push(f64::NAN);
                }
                _ => {
                    let us: f64 = word.parse().map_err(|_| format!("`{word}` is no time"))?;
                    if !us.is_finite() || us <= 0.0 {
                        return Err(format!("{word} is no time"));
                    }
                    let here = row.us.len();
                    row.x.push(x);
                    row.us.push(us);
                    fill(&mut row, known, here, between)?;
                    known = Some(here);
                }
            }
        }
        if points != self.axis.len() {
            return Err(format!("{points} times for {} points", self.axis.len()));
        }
        match known {
            Some(last) if last + 1 == row.us.len() => Ok(row),
            _ => Err("it does not end with a measured point".to_owned()),
        }
    }
}

/// Fills the points between `from` and `to`.
fn fill(
    row: &mut SampleRow,
    from: Option<usize>,
    to: usize,
    between: Between,
) -> Result<(), String> {
    let first = from.map_or(0, |index| index + 1);
    if first == to {
        return Ok(());
    }
    let from = from.ok_or("it does not begin with a measured point")?;
    let ends = ((row.x[from], row.us[from]), (row.x[to], row.us[to]));
    for index in first..to {
        row.us[index] = between.at(row.x[index], ends.0, ends.1);
    }
    Ok(())
}

impl OperatorTables {
    /// Every table with what it is about, the number of keys and how it runs between points.
    pub fn tables(&self) -> Vec<(String, &Table, usize, Between)> {
        let mut all = Vec::new();
        for gemm in &self.gemm {
            all.push((format!("gemm {}", gemm.dtype.name()), &gemm.table, 2, Between::Linear));
        }
        for (name, tables, between) in [
            ("prefill", &self.prefill, Between::SquareRoot),
            ("decode", &self.decode, Between::Linear),
        ] {
            for t in tables {
                let about = format!(
                    "{name} head_dim {} {} KV {}",
                    t.head_dim,
                    heads(t.kv_heads),
                    t.kv_dtype.name()
                );
                all.push((about, &t.table, 2, between));
            }
        }
        for t in &self.experts {
            let about = format!(
                "experts {} hidden {} intermediate {} experts {} of {}",
                t.dtype.name(),
                t.hidden,
                t.intermediate,
                t.top_k,
                t.experts
            );
            all.push((about, &t.table, 1, Between::Linear));
        }
        for t in &self.collectives {
            all.push((format!("{:?} {}", t.operation, t.library), &t.table, 1, Between::Linear));
        }
        all
    }

    /// The numbers of GPUs that an all-reduce was measured among: `2, 4, 8`.
    pub(crate) fn all_reduce_gpus(&self) -> String {
        let tables = self.collectives.iter().filter(|t| t.operation == Collective::AllReduce);
        let gpus: std::collections::BTreeSet<u32> = tables
            .flat_map(|t| t.table.rows.lines())
            .filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .collect();
        let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
        if gpus.is_empty() { "none".to_owned() } else { gpus.join(", ") }
    }

    /// Parses every row.
    ///
    /// # Errors
    /// The table, and what is wrong.
    pub(super) fn check_rows(&self) -> Result<(), (String, String)> {
        for (about, table, keys, between) in self.tables() {
            if let Err(why) = table.rows(keys, between) {
                return Err((format!("operators ({about})"), why));
            }
        }
        Ok(())
    }
}

fn heads(kv_heads: u32) -> String {
    match kv_heads {
        0 => "MHA".to_owned(),
        heads => format!("{heads} KV heads"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &'static str) -> Table {
        Table { source: "nobody".into(), axis: vec![1, 2, 4, 8], rows: rows.into() }
    }

    #[test]
    fn gaps_are_filled_and_ends_left_out() {
        let rows = table("3 5 10 . . 24\n7 9 - 4 . 16\n").rows(2, Between::Linear).unwrap();
        assert_eq!(rows[0].keys, [3, 5]);
        assert_eq!(rows[0].us, [10.0, 12.0, 16.0, 24.0]);
        assert_eq!((rows[1].x.as_slice(), rows[1].us[1]), ([2.0, 4.0, 8.0].as_slice(), 8.0));
        let rows = table("7 9 - 4 . 36\n").rows(2, Between::SquareRoot).unwrap();
        assert!((rows[0].us[1] - (10.0_f64 / 3.0) * (10.0 / 3.0)).abs() < 1e-9);
    }

    #[test]
    fn malformed_rows_are_refused() {
        for rows in [
            "1 2 3 4 5",
            "1 2 3 4 5 6 7",
            "x 2 3 4 5 6",
            "1 2 . 4 5 6",
            "1 2 3 4 5 .",
            "1 2 3 4 -1 6",
            "1 2 3 4 x 6",
            "1 2 - - - -",
        ] {
            assert!(table(rows).rows(2, Between::Linear).is_err(), "{rows}");
        }
    }
}

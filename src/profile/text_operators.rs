//! Writes operator tables.

use std::fmt::{self, Write};

use super::operators::{OperatorTables, Table};
use super::text::write_numbers;

/// The `operators` section of a profile.
pub(super) fn write_operators(f: &mut impl Write, operators: &OperatorTables) -> fmt::Result {
    let peak = operators.peak;
    writeln!(f, "    operators: (")?;
    writeln!(f, "        // Points that interpolation finds within this share are written `.`.")?;
    writeln!(f, "        thinned: {:?},", operators.thinned)?;
    writeln!(
        f,
        "        peak: (bf16_tflops: {}, fp8_tflops: {}, memory_gbps: {}, intra_node_gbps: {}, \
         inter_node_gbps: {}, gpus_per_node: {}),",
        peak.bf16_tflops,
        peak.fp8_tflops,
        peak.memory_gbps,
        peak.intra_node_gbps,
        peak.inter_node_gbps,
        peak.gpus_per_node
    )?;
    writeln!(f, "        // N K, then a time per M")?;
    list(f, "gemm", &operators.gemm, |f, t| {
        writeln!(f, "                dtype: {:?},", t.dtype)?;
        table(f, &t.table)
    })?;
    writeln!(f, "        // query heads, requests, then a time per tokens of each request")?;
    for (name, tables) in [("prefill", &operators.prefill), ("decode", &operators.decode)] {
        list(f, name, tables, |f, t| {
            writeln!(f, "                kv_dtype: {:?},", t.kv_dtype)?;
            writeln!(f, "                head_dim: {},", t.head_dim)?;
            writeln!(f, "                kv_heads: {},", t.kv_heads)?;
            table(f, &t.table)
        })?;
    }
    writeln!(f, "        // GPUs that share each expert, then a time per tokens")?;
    list(f, "experts", &operators.experts, |f, t| {
        writeln!(f, "                dtype: {:?},", t.dtype)?;
        writeln!(f, "                hidden: {},", t.hidden)?;
        writeln!(f, "                intermediate: {},", t.intermediate)?;
        writeln!(f, "                experts: {},", t.experts)?;
        writeln!(f, "                top_k: {},", t.top_k)?;
        writeln!(f, "                routing: {:?},", t.routing)?;
        table(f, &t.table)
    })?;
    writeln!(f, "        // GPUs, then a time per bytes of the message")?;
    list(f, "collectives", &operators.collectives, |f, t| {
        writeln!(f, "                operation: {:?},", t.operation)?;
        writeln!(f, "                library: {:?},", t.library)?;
        table(f, &t.table)
    })?;
    writeln!(f, "    ),")
}

fn list<W: Write, T>(
    f: &mut W,
    name: &str,
    items: &[T],
    write: impl Fn(&mut W, &T) -> fmt::Result,
) -> fmt::Result {
    writeln!(f, "        {name}: [")?;
    for item in items {
        writeln!(f, "            (")?;
        write(f, item)?;
        writeln!(f, "            ),")?;
    }
    writeln!(f, "        ],")
}

fn table(f: &mut impl Write, table: &Table) -> fmt::Result {
    writeln!(f, "                table: (")?;
    writeln!(f, "                    source: {:?},", table.source)?;
    write_numbers(f, 20, "axis", &table.axis)?;
    writeln!(f, "                    rows: r\"{}\",", table.rows)?;
    writeln!(f, "                ),")
}

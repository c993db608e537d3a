//! Writes the layerwise part of a profile.

use std::fmt::{self, Write};

use super::format::Curve;
use super::layerwise::{LayerwiseAttention, LayerwiseRank, LayerwiseTables, Skew, TokenOperator};
use super::text::{write_curve, write_numbers, write_surface_at};

pub(super) fn write_layerwise(f: &mut impl Write, tables: &LayerwiseTables) -> fmt::Result {
    let shape = tables.shape;
    writeln!(f, "    layerwise: (")?;
    writeln!(f, "        model: {:?},", tables.model)?;
    writeln!(f, "        variant: {:?},", tables.variant)?;
    writeln!(f, "        engine: {:?},", tables.engine)?;
    writeln!(f, "        block_size: {},", tables.block_size)?;
    writeln!(f, "        shape: (")?;
    writeln!(f, "            hidden: {},", shape.hidden)?;
    writeln!(f, "            q_heads: {},", shape.q_heads)?;
    writeln!(f, "            kv_heads: {},", shape.kv_heads)?;
    writeln!(f, "            head_dim: {},", shape.head_dim)?;
    writeln!(f, "            intermediate: {},", shape.intermediate)?;
    writeln!(f, "            vocab: {},", shape.vocab)?;
    if shape.experts > 0 {
        writeln!(f, "            experts: {},", shape.experts)?;
        writeln!(f, "            experts_per_token: {},", shape.experts_per_token)?;
    }
    writeln!(f, "        ),")?;
    if let Some(s) = tables.straggler {
        writeln!(
            f,
            "        straggler: (from_heads: {}, us: {}, us_per_token: {}),",
            s.from_heads, s.us, s.us_per_token
        )?;
    }
    writeln!(f, "        ranks: [")?;
    for rank in &tables.ranks {
        write_rank(f, rank)?;
    }
    writeln!(f, "        ],")?;
    writeln!(f, "    ),")
}

fn write_rank(f: &mut impl Write, rank: &LayerwiseRank) -> fmt::Result {
    writeln!(f, "            (")?;
    writeln!(f, "                tensor_parallel: {},", rank.tensor_parallel)?;
    writeln!(f, "                per_tokens: (")?;
    write_numbers(f, 20, "tokens", &rank.per_tokens.tokens)?;
    writeln!(f, "                    us: {{")?;
    for operator in TokenOperator::ALL {
        if let Some(us) = rank.per_tokens.us.get(&operator) {
            write_numbers(f, 24, operator.name(), us)?;
        }
    }
    writeln!(f, "                    }},")?;
    writeln!(f, "                ),")?;
    writeln!(f, "                // x: requests")?;
    writeln!(f, "                per_sequences: (")?;
    for (name, curve) in
        [("lm_head", &rank.per_sequences.lm_head), ("sampler", &rank.per_sequences.sampler)]
    {
        write_named_curve(f, name, curve)?;
    }
    writeln!(f, "                ),")?;
    write_attention(f, &rank.attention)?;
    if let Some(moe) = &rank.moe {
        writeln!(f, "                // at: experts met; x: tokens")?;
        write_surface_at(f, 16, "moe", moe)?;
    }
    if let Some(skew) = &rank.skew {
        write_skew(f, skew)?;
    }
    writeln!(f, "            ),")
}

fn write_named_curve(f: &mut impl Write, name: &str, curve: &Curve) -> fmt::Result {
    writeln!(f, "                    {name}: (")?;
    write_curve(f, 24, curve)?;
    writeln!(f, "                    ),")
}

/// One line per row, without indentation: there are some two thousand.
fn write_attention(f: &mut impl Write, attention: &LayerwiseAttention) -> fmt::Result {
    writeln!(f, "                attention: (")?;
    writeln!(f, "                    axes: [")?;
    for axis in &attention.axes {
        writeln!(f, "[{}],", joined(axis))?;
    }
    writeln!(f, "                    ],")?;
    writeln!(f, "// (chunk, decodes, [(kv_prefill, axis of kv_decode, [us])])")?;
    writeln!(f, "                    slices: [")?;
    for slice in &attention.slices {
        writeln!(f, "({},{},[", slice.0, slice.1)?;
        for row in &slice.2 {
            writeln!(f, "({},{},[{}]),", row.0, row.1, joined(&row.2))?;
        }
        writeln!(f, "]),")?;
    }
    writeln!(f, "                    ],")?;
    writeln!(f, "                ),")
}

fn write_skew(f: &mut impl Write, skew: &Skew) -> fmt::Result {
    writeln!(f, "                skew: (")?;
    writeln!(f, "                    default: {},", skew.default)?;
    write_numbers(f, 20, "requests", &skew.requests)?;
    write_numbers(f, 20, "position", &skew.position)?;
    write_numbers(f, 20, "longest", &skew.longest)?;
    writeln!(f, "                    alpha: [")?;
    for row in &skew.alpha {
        writeln!(f, "[{}],", joined(row))?;
    }
    writeln!(f, "                    ],")?;
    writeln!(f, "                ),")
}

fn joined<T: fmt::Display>(numbers: &[T]) -> String {
    let texts: Vec<String> = numbers.iter().map(T::to_string).collect();
    texts.join(",")
}

//! Writes a profile as RON that people can read: one table after the other, numbers in lines.

use std::fmt::{self, Display, Write};

use super::format::{
    Curve, ModelTables, NetworkTables, Operator, Profile, RankTables, Surface, Transferred,
};
use super::layerwise_text::write_layerwise;
use super::text_operators::write_operators;

/// Longest line of numbers.
const WIDTH: usize = 100;

impl Display for Profile {
    /// The profile as it is stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "// {}", self.about())?;
        if self.layerwise.is_some() {
            writeln!(f, "// Measured times of GPU kernels, in microseconds, per layer.")?;
        } else if self.operators.is_some() {
            writeln!(f, "// Times in microseconds per call of the kernel.")?;
        } else {
            writeln!(f, "// Measured times: medians, in microseconds, per transformer block.")?;
        }
        writeln!(f, "(")?;
        writeln!(f, "    format: {},", self.format)?;
        writeln!(f, "    device: {:?},", self.device)?;
        writeln!(f, "    tool: {:?},", self.tool)?;
        if !self.checked_against.is_empty() {
            writeln!(f, "    checked_against: {:?},", self.checked_against)?;
        }
        if !self.checked_with.is_empty() {
            let with: Vec<String> = self.checked_with.iter().map(ToString::to_string).collect();
            writeln!(f, "    checked_with: [{}],", with.join(", "))?;
        }
        writeln!(f, "    provenance: [")?;
        for p in &self.provenance {
            writeln!(f, "        (")?;
            writeln!(f, "            covers: {:?},", p.covers)?;
            writeln!(f, "            device: {:?},", p.device)?;
            writeln!(f, "            source: {:?},", p.source)?;
            writeln!(f, "            files: {:?},", p.files)?;
            writeln!(f, "            licence: {:?},", p.licence)?;
            writeln!(f, "        ),")?;
        }
        writeln!(f, "    ],")?;
        if let Some(model) = &self.model {
            write_model(f, model)?;
        }
        if let Some(layers) = &self.layerwise {
            write_layerwise(f, layers)?;
        }
        if let Some(network) = &self.network {
            write_network(f, network)?;
        }
        if let Some(operators) = &self.operators {
            write_operators(f, operators)?;
        }
        writeln!(f, ")")
    }
}

fn write_model(f: &mut impl Write, model: &ModelTables) -> fmt::Result {
    let shape = model.shape;
    writeln!(f, "    model: (")?;
    writeln!(f, "        name: {:?},", model.name)?;
    writeln!(f, "        shape: (")?;
    writeln!(f, "            hidden: {},", shape.hidden)?;
    writeln!(f, "            q_heads: {},", shape.q_heads)?;
    writeln!(f, "            kv_heads: {},", shape.kv_heads)?;
    writeln!(f, "            intermediate: {},", shape.intermediate)?;
    writeln!(f, "            gated_mlp: {},", shape.gated_mlp)?;
    writeln!(f, "        ),")?;
    writeln!(f, "        ranks: [")?;
    for rank in &model.ranks {
        write_rank(f, rank)?;
    }
    writeln!(f, "        ],")?;
    writeln!(f, "    ),")
}

fn write_rank(f: &mut impl Write, rank: &RankTables) -> fmt::Result {
    let tables = &rank.per_tokens;
    let attention = &rank.attention;
    writeln!(f, "            (")?;
    writeln!(f, "                tensor_parallel: {},", rank.tensor_parallel)?;
    writeln!(f, "                per_tokens: (")?;
    write_numbers(f, 20, "tokens", &tables.tokens)?;
    writeln!(f, "                    us: {{")?;
    for operator in Operator::ALL {
        if let Some(us) = tables.us.get(&operator) {
            write_numbers(f, 24, operator.name(), us)?;
        }
    }
    writeln!(f, "                    }},")?;
    writeln!(f, "                ),")?;
    writeln!(f, "                attention: (")?;
    writeln!(f, "                    block_size: {},", attention.block_size)?;
    writeln!(f, "                    kernel: {:?},", attention.kernel)?;
    writeln!(f, "                    // at: decoding requests; x: tokens in the KV cache of each")?;
    write_surface(f, "decode", &attention.decode)?;
    writeln!(
        f,
        "                    // at: tokens of the chunk; x: tokens in the KV cache before"
    )?;
    write_surface(f, "prefill", &attention.prefill)?;
    if let Some(curve) = &attention.kv_cache_save {
        writeln!(f, "                    // x: tokens in the batch")?;
        writeln!(f, "                    kv_cache_save: (")?;
        write_curve(f, 24, curve)?;
        writeln!(f, "                    ),")?;
    }
    if let Some(Transferred { decode, prefixes }) = attention.transferred {
        writeln!(f, "                    transferred: (decode: {decode}, prefixes: {prefixes}),")?;
    }
    writeln!(f, "                ),")?;
    writeln!(f, "            ),")
}

fn write_surface(f: &mut impl Write, name: &str, surface: &Surface) -> fmt::Result {
    write_surface_at(f, 20, name, surface)
}

/// Writes a surface, indented by `at`.
pub(super) fn write_surface_at(
    f: &mut impl Write,
    at: usize,
    name: &str,
    surface: &Surface,
) -> fmt::Result {
    writeln!(f, "{:at$}{name}: (", "")?;
    write_numbers(f, at + 4, "x", &surface.x)?;
    writeln!(f, "{:1$}rows: [", "", at + 4)?;
    for row in &surface.rows {
        writeln!(f, "{:1$}(", "", at + 8)?;
        writeln!(f, "{:1$}at: {2},", "", at + 12, row.at)?;
        if let Some(x) = &row.x {
            write_numbers(f, at + 12, "x", x)?;
        }
        write_numbers(f, at + 12, "us", &row.us)?;
        writeln!(f, "{:1$}),", "", at + 8)?;
    }
    writeln!(f, "{:1$}],", "", at + 4)?;
    writeln!(f, "{:at$}),", "")
}

fn write_network(f: &mut impl Write, network: &NetworkTables) -> fmt::Result {
    writeln!(f, "    network: (")?;
    writeln!(f, "        name: {:?},", network.name)?;
    writeln!(f, "        gpus_per_node: {},", network.gpus_per_node)?;
    writeln!(f, "        all_reduce: [")?;
    for table in &network.all_reduce {
        writeln!(f, "            (")?;
        writeln!(f, "                workers: {},", table.workers)?;
        write_bytes(f, &table.bytes)?;
        writeln!(f, "            ),")?;
    }
    writeln!(f, "        ],")?;
    writeln!(f, "        send_recv: [")?;
    for table in &network.send_recv {
        writeln!(f, "            (")?;
        writeln!(f, "                within_node: {},", table.within_node)?;
        write_bytes(f, &table.bytes)?;
        writeln!(f, "            ),")?;
    }
    writeln!(f, "        ],")?;
    writeln!(f, "    ),")
}

fn write_bytes(f: &mut impl Write, curve: &Curve) -> fmt::Result {
    writeln!(f, "                bytes: (")?;
    write_curve(f, 20, curve)?;
    writeln!(f, "                ),")
}

pub(super) fn write_curve(f: &mut impl Write, indent: usize, curve: &Curve) -> fmt::Result {
    write_numbers(f, indent, "x", &curve.x)?;
    write_numbers(f, indent, "us", &curve.us)
}

/// `name: [1, 2, 3],`, on one line where it fits, otherwise in full lines.
pub(super) fn write_numbers<T: Display>(
    f: &mut impl Write,
    indent: usize,
    name: &str,
    numbers: &[T],
) -> fmt::Result {
    let texts: Vec<String> = numbers.iter().map(T::to_string).collect();
    let one_line = format!("{name}: [{}],", texts.join(", "));
    if indent + one_line.len() <= WIDTH {
        return writeln!(f, "{:indent$}{one_line}", "");
    }
    writeln!(f, "{:indent$}{name}: [", "")?;
    let mut line = String::new();
    for text in texts {
        if !line.is_empty() && indent + 4 + line.len() + text.len() + 2 > WIDTH {
            writeln!(f, "{:1$}{line}", "", indent + 4)?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&text);
        line.push(',');
    }
    writeln!(f, "{:1$}{line}", "", indent + 4)?;
    writeln!(f, "{:indent$}],", "")
}

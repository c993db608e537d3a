//! The profile format: measured times of one device, and where they come from.
//!
//! A file holds the tables of one model's operators, or of a network's collectives, or both. Every
//! section is optional, so that later kinds of tables are further sections. All times are medians
//! in microseconds.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::check::Complaint;
use super::checked::CheckedWith;
use super::layerwise::LayerwiseTables;
use super::operators::OperatorTables;
use crate::base::{shortened_text, suggest};

/// The version of the format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// A profile: one file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// [`FORMAT`].
    pub format: u32,
    /// The device, by the name scenarios use.
    pub device: String,
    /// The program that computed the file.
    pub tool: String,
    /// Against what simulated times were checked; empty for nothing.
    #[serde(default)]
    pub checked_against: String,
    /// The models with which they were.
    #[serde(default)]
    pub checked_with: Vec<CheckedWith>,
    /// Where the measurements come from, by part.
    pub provenance: Vec<Provenance>,
    /// Operators of a model.
    #[serde(default)]
    pub model: Option<ModelTables>,
    /// Collectives of a network.
    #[serde(default)]
    pub network: Option<NetworkTables>,
    /// Operators of the device, for any model.
    #[serde(default)]
    pub operators: Option<OperatorTables>,
    /// Layers of a model, kernel by kernel.
    #[serde(default)]
    pub layerwise: Option<LayerwiseTables>,
}

/// Where part of a profile comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The part: `GEMM`, `attention`, `network`.
    pub covers: String,
    /// The device that was measured, if not exactly the profile's: `A800`.
    pub device: String,
    /// The project that measured: `Vidur`.
    pub source: String,
    /// The files it was computed from, relative to the project's data.
    pub files: Vec<String>,
    /// The licence of those files.
    pub licence: String,
}

/// Operators of one model on one device, per tensor-parallel degree.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTables {
    /// The model that was measured.
    pub name: String,
    /// What the times depend on; other models of this shape have the same times.
    pub shape: Shape,
    /// One entry per tensor-parallel degree that was measured.
    pub ranks: Vec<RankTables>,
}

/// The shape of a transformer block, over all GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub q_heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of the MLP.
    pub intermediate: u32,
    /// Whether the MLP has a gate.
    pub gated_mlp: bool,
}

/// Times on one GPU of a tensor-parallel group, for one transformer block.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankTables {
    /// GPUs in the group.
    pub tensor_parallel: u32,
    /// Operators whose time depends on the batch's tokens alone.
    pub per_tokens: TokenTables,
    /// Attention kernels.
    pub attention: AttentionTables,
}

/// Operators on a common axis of tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTables {
    /// Tokens in the batch, ascending.
    pub tokens: Vec<u32>,
    /// Time of each operator at each of these.
    pub us: BTreeMap<Operator, Vec<f64>>,
}

/// An operator whose time depends on the batch's tokens alone, by Vidur's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Look-up of the token embedding (not part of Vidur's composition).
    Emb,
    /// Norm before attention.
    InputLayernorm,
    /// QKV projection.
    AttnPreProj,
    /// Rotary embedding.
    AttnRope,
    /// Output projection.
    AttnPostProj,
    /// Norm before the MLP.
    PostAttentionLayernorm,
    /// Gate and up projection.
    MlpUpProj,
    /// Activation.
    MlpAct,
    /// Down projection.
    MlpDownProj,
    /// Residual addition.
    Add,
}

impl Operator {
    /// All operators, in the order of execution.
    pub const ALL: [Operator; 10] = [
        Operator::Emb,
        Operator::InputLayernorm,
        Operator::AttnPreProj,
        Operator::AttnRope,
        Operator::AttnPostProj,
        Operator::PostAttentionLayernorm,
        Operator::MlpUpProj,
        Operator::MlpAct,
        Operator::MlpDownProj,
        Operator::Add,
    ];

    /// The operator's name in files.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Emb => "emb",
            Operator::InputLayernorm => "input_layernorm",
            Operator::AttnPreProj => "attn_pre_proj",
            Operator::AttnRope => "attn_rope",
            Operator::AttnPostProj => "attn_post_proj",
            Operator::PostAttentionLayernorm => "post_attention_layernorm",
            Operator::MlpUpProj => "mlp_up_proj",
            Operator::MlpAct => "mlp_act",
            Operator::MlpDownProj => "mlp_down_proj",
            Operator::Add => "add",
        }
    }
}

/// Attention kernels of one GPU.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionTables {
    /// Tokens per KV block.
    pub block_size: u32,
    /// The kernel library: `FLASHINFER`.
    pub kernel: String,
    /// Rows: decoding requests; columns: tokens in the KV cache of each.
    pub decode: Surface,
    /// Rows: tokens of one chunk; columns: tokens already in the KV cache.
    pub prefill: Surface,
    /// Writing of new keys and values by tokens, where it was measured apart.
    #[serde(default)]
    pub kv_cache_save: Option<Curve>,
    /// What of it was computed from measurements of other layouts or without context.
    #[serde(default)]
    pub transferred: Option<Transferred>,
}

/// Attention times that were not measured at their point, but computed from a device's operator
/// tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transferred {
    /// All of `decode`: measured with other layouts of heads.
    pub decode: bool,
    /// Chunks of `prefill` on a context: measured without.
    pub prefixes: bool,
}

/// A measured function of one integer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Where it was measured, ascending.
    pub x: Vec<u32>,
    /// The times there.
    pub us: Vec<f64>,
}

/// A measured function of two integers, as curves along the second.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surface {
    /// Columns of the rows that do not name their own.
    pub x: Vec<u32>,
    /// The curves, by ascending `at`.
    pub rows: Vec<SurfaceRow>,
}

/// One curve of a surface.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurfaceRow {
    /// The first argument.
    pub at: u32,
    /// The second argument, ascending; left out: the first columns of the surface.
    #[serde(default)]
    pub x: Option<Vec<u32>>,
    /// The times.
    pub us: Vec<f64>,
}

impl Surface {
    /// The columns of `row`.
    pub fn columns<'a>(&'a self, row: &'a SurfaceRow) -> &'a [u32] {
        match &row.x {
            Some(x) => x,
            None => &self.x[..row.us.len().min(self.x.len())],
        }
    }
}

/// Collectives of one network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkTables {
    /// The name scenarios use: `a100_pairwise_nvlink`.
    pub name: String,
    /// GPUs in one node.
    pub gpus_per_node: u32,
    /// All-reduce within a node, by the number of GPUs.
    pub all_reduce: Vec<AllReduceTable>,
    /// Send/receive between two GPUs, within a node and across nodes.
    pub send_recv: Vec<SendRecvTable>,
}

/// All-reduce among GPUs of one node.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllReduceTable {
    /// GPUs that take part.
    pub workers: u32,
    /// Time by message size in bytes.
    pub bytes: Curve,
}

/// Transfer from one GPU to another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRecvTable {
    /// Whether both GPUs are in one node.
    pub within_node: bool,
    /// Time by message size in bytes.
    pub bytes: Curve,
}

impl Profile {
    /// Reads a profile from RON text; `file` names it in errors.
    ///
    /// # Errors
    /// [`ProfileError::Syntax`](super::ProfileError::Syntax) with the place, or
    /// [`ProfileError::Inconsistent`](super::ProfileError::Inconsistent) with the table.
    pub fn parse(text: &str, file: &str) -> Result<Profile, super::ProfileError> {
        let options = crate::base::ron_options();
        let profile: Profile =
            options.from_str(text).map_err(|error| super::ProfileError::Syntax {
                file: file.to_owned(),
                line: error.span.start.line,
                column: error.span.start.col,
                message: in_words(&error.code),
            })?;
        profile.checked(file)
    }

    /// The profile, if it is consistent; `file` names it in errors.
    pub(crate) fn checked(self, file: &str) -> Result<Profile, super::ProfileError> {
        self.check().map_err(|Complaint { place, message }| super::ProfileError::Inconsistent {
            file: file.to_owned(),
            place,
            message,
        })?;
        Ok(self)
    }

    /// One line on what the profile holds.
    pub fn about(&self) -> String {
        let mut parts = Vec::new();
        if let Some(model) = &self.model {
            let degrees: Vec<_> =
                model.ranks.iter().map(|rank| rank.tensor_parallel.to_string()).collect();
            parts.push(format!("{}, TP {}", model.name, degrees.join(", ")));
        }
        if let Some(layers) = &self.layerwise {
            let degrees: Vec<_> =
                layers.ranks.iter().map(|rank| rank.tensor_parallel.to_string()).collect();
            parts.push(format!(
                "layers of {}, {}, TP {}, {}",
                layers.model,
                layers.variant,
                degrees.join(", "),
                layers.engine
            ));
        }
        if let Some(network) = &self.network {
            let workers: Vec<_> =
                network.all_reduce.iter().map(|table| table.workers.to_string()).collect();
            parts.push(format!("network {}, all-reduce of {}", network.name, workers.join(", ")));
        }
        if let Some(operators) = &self.operators {
            parts.push(format!("any model, all-reduce of {}", operators.all_reduce_gpus()));
        }
        let sources: Vec<_> = self
            .provenance
            .iter()
            .map(|p| format!("{} {} ({})", p.device, p.covers, p.source))
            .collect();
        format!("{} on {}: {}", parts.join("; "), self.device, sources.join(" + "))
    }
}
/// What is wrong with a profile; a key that is not known gets suggestions.
fn in_words(error: &ron::Error) -> String {
    match error {
        ron::Error::NoSuchStructField { expected, found, .. } => {
            let help = suggest::help(found, expected.iter().copied());
            format!("unknown key `{}`; {}", shortened_text(found, 80), help.join(" "))
        }
        other => shortened_text(&other.to_string(), 300),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_get_suggestions() {
        let error =
            Profile::parse("(\n    format: 1,\n    devise: \"H100\",\n)", "p.ron").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("p.ron:3:"), "{text}");
        assert!(text.contains("unknown key `devise`; did you mean `device`?"), "{text}");
    }
}

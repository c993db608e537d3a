//! Model families: what a `config.json` leaves out because the model's class knows it.
//!
//! A family is found by `model_type`. Its description says how blocks are built and what absent
//! keys stand for; class defaults are those of HuggingFace transformers 5.24 (Apache-2.0), read
//! from its configuration classes.

mod afmoe;
pub(super) mod assemble;
mod bailing;
mod cohere;
mod dbrx;
mod deepseek;
mod deepseek_v4;
mod dots;
mod ernie;
mod exaone;
mod falcon;
mod falcon_h1;
mod gemma;
mod gemma3n;
mod gemma4;
mod glm;
mod glm5;
mod gpt;
mod gpt_oss;
mod granite;
mod granite_hybrid;
mod hunyuan;
mod jamba;
mod kimi;
pub(super) mod kinds;
mod laguna;
mod latent;
mod lfm;
mod llama;
mod llama4;
mod longcat;
mod mamba;
mod mimo;
mod minimax;
mod mistral;
mod mllama;
mod muse;
mod nas;
mod nemotron;
mod nemotron_h;
mod olmo;
mod olmo_hybrid;
mod phi;
mod qwen;
mod qwen_next;
mod recurrent;
mod recurrent_gemma;
mod sarvam;
pub(super) mod sparsity;
#[cfg(test)]
mod truth;

use super::ModelSpec;
use super::config::{Keys, Scheme};
use super::layers::Layer;
use crate::base::Diagnostic;
use assemble::{AddMixer, Context};
use kinds::Kind;

/// Where a bias is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flag {
    /// Nowhere.
    Never,
    /// In every model of the family.
    Always,
    /// Where the config says so, by this key and with this class default.
    Key(&'static str, bool),
}

impl Flag {
    pub fn read(self, keys: &Keys) -> bool {
        match self {
            Flag::Never => false,
            Flag::Always => true,
            Flag::Key(key, default) => keys.flag(key).unwrap_or(default),
        }
    }
}

/// Norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadNorms {
    /// None.
    None,
    /// One weight for each element of a head, shared by all heads.
    PerHead,
    /// The same, if the config says so, by this key and with this class default.
    PerHeadIf(&'static str, bool),
    /// One weight for each element of all heads.
    Whole,
}

impl HeadNorms {
    /// With the config's say.
    pub fn read(self, keys: &Keys) -> HeadNorms {
        match self {
            HeadNorms::PerHeadIf(key, default) => match keys.flag(key).unwrap_or(default) {
                true => HeadNorms::PerHead,
                false => HeadNorms::None,
            },
            known => known,
        }
    }
}

/// Which layers have experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Experts {
    /// None: the family is dense.
    Never,
    /// All, if the config has a number of experts.
    ByKey,
}

/// Vectors of a block and of the model that are no matrices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors {
    /// Norms in a block.
    pub block_norms: u32,
    /// Whether norms have a bias beside their weight.
    pub norm_bias: bool,
    /// Norms of queries and keys.
    pub head_norms: HeadNorms,
    /// Bias of the projections to queries, keys and values.
    pub qkv_bias: Flag,
    /// Bias of attention's output projection.
    pub output_bias: Flag,
    /// Bias of the MLP's matrices.
    pub mlp_bias: Flag,
    /// Bias of the LM head.
    pub head_bias: Flag,
}

/// Gives the kind of each layer.
type Kinds = fn(&Keys, &Family, &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>>;

/// How the models of a family are built, where their configs do not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// `model_type` of its models.
    pub model_types: &'static [&'static str],
    /// Class default of `tie_word_embeddings`.
    pub tied: bool,
    /// Whether the MLP has a gate.
    pub gated: bool,
    /// Class default of `head_dim`; without one heads fill the hidden width.
    pub head_dim: Option<u32>,
    /// Whether an absent width of the MLP stands for four times the hidden width.
    pub mlp_of_four: bool,
    /// Other class defaults of numbers.
    pub defaults: &'static [(&'static str, u32)],
    /// Vectors beside the matrices.
    pub vectors: Vectors,
    /// Experts in place of the MLP.
    pub experts: Experts,
    /// Learned positions: rows beside one for each position; `None` without such a table.
    pub position_rows: Option<u32>,
    /// Class default of `sliding_window`.
    pub window: Option<u32>,
    /// Whether all layers see the window, where no key gives each layer its kind.
    pub windowed: bool,
    /// Whether `sliding_window` holds only under `use_sliding_window`, which is off by default.
    pub window_is_off: bool,
    /// Where no key gives each layer its kind: every so many layers one that sees everything, the
    /// others a window.
    pub full_every: Option<u32>,
    /// The kind of each layer.
    pub kinds: Kinds,
    /// Adds what mixes tokens to a layer.
    pub mixer: AddMixer,
    /// Whether a layer is either a mixer or an MLP.
    pub alone: bool,
    /// Adds what else is in a layer.
    pub finish: fn(&Context, u32, &mut Layer) -> Result<(), Box<Diagnostic>>,
    /// What checkpoints call the MLP, or the router with its experts, in a layer.
    pub mlp_module: &'static str,
    /// What they call the experts that every token meets, within that.
    pub shared_module: &'static str,
    /// Whether those have a gate of their own.
    pub shared_gate: bool,
    /// Adds what a config says of storage outside of its quantisation.
    pub storage: fn(&Keys, &mut Scheme),
    /// Keys that change nothing here, although they might elsewhere.
    pub harmless: &'static [&'static str],
    /// What is particular to the family.
    pub adjust: fn(&Keys, &mut ModelSpec) -> Result<(), Box<Diagnostic>>,
}

/// Llama's blocks, which most families share.
pub(super) const LLAMA: Family = Family {
    model_types: &["llama"],
    tied: false,
    gated: true,
    head_dim: None,
    mlp_of_four: false,
    defaults: &[],
    vectors: Vectors {
        block_norms: 2,
        norm_bias: false,
        head_norms: HeadNorms::None,
        qkv_bias: Flag::Key("attention_bias", false),
        output_bias: Flag::Key("attention_bias", false),
        mlp_bias: Flag::Key("mlp_bias", false),
        head_bias: Flag::Never,
    },
    experts: Experts::Never,
    position_rows: None,
    window: None,
    windowed: false,
    window_is_off: false,
    full_every: None,
    kinds: kinds::by_keys,
    mixer: assemble::attention,
    alone: false,
    finish: |_, _, _| Ok(()),
    mlp_module: "mlp",
    shared_module: "shared_experts",
    shared_gate: false,
    storage: |_, _| {},
    harmless: &[],
    adjust: |_, _| Ok(()),
};

/// Llama's blocks for a `model_type` that nobody knows, where the scenario allows it.
pub(super) const UNKNOWN: Family = Family { experts: Experts::ByKey, ..LLAMA };

/// All families, file by file.
const ALL: &[&[Family]] = &[
    llama::FAMILIES,
    mistral::FAMILIES,
    qwen::FAMILIES,
    gemma::FAMILIES,
    phi::FAMILIES,
    glm::FAMILIES,
    granite::FAMILIES,
    cohere::FAMILIES,
    olmo::FAMILIES,
    nemotron::FAMILIES,
    minimax::FAMILIES,
    gpt::FAMILIES,
    falcon::FAMILIES,
    dbrx::FAMILIES,
    deepseek::FAMILIES,
    qwen_next::FAMILIES,
    deepseek_v4::FAMILIES,
    gemma3n::FAMILIES,
    longcat::FAMILIES,
    glm5::FAMILIES,
    kimi::FAMILIES,
    nas::FAMILIES,
    mllama::FAMILIES,
    lfm::FAMILIES,
    recurrent_gemma::FAMILIES,
    nemotron_h::FAMILIES,
    falcon_h1::FAMILIES,
    granite_hybrid::FAMILIES,
    mamba::FAMILIES,
    jamba::FAMILIES,
    sarvam::FAMILIES,
    muse::FAMILIES,
    mimo::FAMILIES,
    llama4::FAMILIES,
    laguna::FAMILIES,
    hunyuan::FAMILIES,
    gpt_oss::FAMILIES,
    exaone::FAMILIES,
    dots::FAMILIES,
    afmoe::FAMILIES,
    bailing::FAMILIES,
    ernie::FAMILIES,
    gemma4::FAMILIES,
    olmo_hybrid::FAMILIES,
];

/// The family of the models with this `model_type`.
pub(super) fn find(model_type: &str) -> Option<&'static Family> {
    ALL.iter().copied().flatten().find(|family| family.model_types.contains(&model_type))
}

/// Class defaults of all sizes, where configs of wrappers (LLaVA) leave out what is like them.
pub(super) fn sizes(model_type: &str) -> &'static [(&'static str, u32)] {
    match model_type {
        "llama" => llama::SIZES,
        "mistral" => mistral::SIZES,
        "qwen2" => qwen::SIZES,
        _ => &[],
    }
}

/// Every `model_type` that is known.
pub(super) fn model_types() -> Vec<&'static str> {
    ALL.iter().copied().flatten().flat_map(|family| family.model_types).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_family() {
        let mut types = model_types();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all);
        assert!(find("llama").is_some() && find("no such model").is_none());
    }
}

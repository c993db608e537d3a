//! A model as a list of layers: what mixes tokens in each, and every matrix.
//!
//! Parameters, active parameters, FLOPs, KV cache and states all follow from this list. A model
//! whose layers are all alike is described by the fields of [`ModelSpec`](super::ModelSpec) and
//! listed by [`uniform`]; any other model carries its list in `ModelSpec::stack`.

mod matrix;
pub(in crate::hardware::model) mod mixer;
pub(in crate::hardware::model) mod parts;
mod state;
mod uniform;

pub use matrix::{Matrix, Split};
pub use mixer::{Mixer, Reach};
pub use state::LinearState;

pub(in crate::hardware::model) use uniform::uniform;

use super::Moe;
use crate::hardware::Parallelism;

/// One layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// What mixes tokens: one kind, none (a layer of experts alone), or two side by side
    /// (Falcon-H1).
    pub mixers: Vec<Mixer>,
    /// Every matrix.
    pub matrices: Vec<Matrix>,
    /// Experts, if the layer has some; their matrices are among `matrices`.
    pub experts: Option<Moe>,
    /// Parameters that are no matrices, in 16 bits on each GPU: norms, biases, convolutions.
    pub vectors: u64,
}

/// Equal layers that follow one another.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRun {
    /// How many.
    pub count: u32,
    /// Each of them.
    pub layer: Layer,
}

impl Layer {
    /// Its kind in a word, those of two mixers joined: `full`, `sliding`, `full+linear`.
    pub fn kind(&self) -> String {
        match self.mixers.as_slice() {
            [] => "none".to_owned(),
            mixers => mixers.iter().map(Mixer::kind).collect::<Vec<_>>().join("+"),
        }
    }

    /// Its parameters over all GPUs.
    pub fn params(&self) -> u64 {
        self.matrices.iter().map(Matrix::params).sum::<u64>() + self.vectors
    }

    /// Parameters that a token meets.
    pub fn active_params(&self) -> u64 {
        self.matrices.iter().map(Matrix::active_params).sum::<u64>() + self.vectors
    }

    /// Weights of its matrices that a token is multiplied with.
    pub fn multiplied_params(&self) -> u64 {
        self.matrices.iter().map(Matrix::active_params).sum()
    }

    /// Bytes of its weights in a checkpoint, scales included; `dtype_bytes` for what is in 16 bits.
    pub fn checkpoint_bytes(&self, dtype_bytes: f64) -> f64 {
        let matrices: f64 = self.matrices.iter().map(|m| m.params() as f64 * m.bytes()).sum();
        matrices + self.vectors as f64 * dtype_bytes
    }

    /// Bytes of its weights on one GPU.
    pub fn bytes_per_gpu(&self, parallel: Parallelism, dtype_bytes: f64) -> f64 {
        let matrices = self.matrices.iter();
        let matrices: f64 = matrices.map(|m| m.params_per_gpu(parallel) as f64 * m.bytes()).sum();
        matrices + self.vectors as f64 * dtype_bytes
    }
}

/// `layers` in order, with equal neighbours merged.
pub(in crate::hardware::model) fn runs(layers: impl IntoIterator<Item = Layer>) -> Vec<LayerRun> {
    let mut runs: Vec<LayerRun> = Vec::new();
    for layer in layers {
        match runs.last_mut() {
            Some(last) if last.layer == layer => last.count += 1,
            _ => runs.push(LayerRun { count: 1, layer }),
        }
    }
    runs
}

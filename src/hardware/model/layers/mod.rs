//! A model as a list of layers: what mixes tokens in each, and every matrix.
//!
//! Parameters, active parameters, FLOPs, KV cache and states all follow from this list. A model
//! whose layers are all alike is described by the fields of [`ModelSpec`](super::ModelSpec) and
//! listed by `uniform`; any other model carries its list in `ModelSpec::stack`.

mod matrix;
mod mixer;
pub(in crate::hardware::model) mod parts;
mod state;
mod uniform;

pub use matrix::{Matrix, Split};
pub use mixer::{Indexer, Mixer, Reach};
pub use state::LinearState;

pub(in crate::hardware::model) use uniform::uniform;

use super::config::Scheme;
use super::{ModelSpec, Moe, Weights};
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
        let multiplied = self.matrices.iter().filter(|matrix| !matrix.table);
        multiplied.map(Matrix::active_params).sum()
    }

    /// Bytes of its weights in a checkpoint, scales included; `dtype_bytes` for what is in 16 bits.
    pub fn checkpoint_bytes(&self, dtype_bytes: f64) -> f64 {
        let matrices: f64 = self.matrices.iter().map(|m| m.params() as f64 * m.bytes()).sum();
        matrices + self.vectors as f64 * dtype_bytes
    }

    /// Bytes of its weights on one GPU, as the engine holds them.
    pub fn bytes_per_gpu(&self, parallel: Parallelism, dtype_bytes: f64) -> f64 {
        let held = |matrix: &Matrix| match self.experts {
            Some(moe) if matrix.split == Split::Copies && matrix.weights == Weights::Mxfp4 => {
                padded_experts(matrix, moe, parallel)
            }
            _ => matrix.params_per_gpu(parallel),
        };
        let matrices: f64 = self.matrices.iter().map(|m| held(m) as f64 * m.bytes()).sum();
        matrices + self.vectors as f64 * dtype_bytes
    }
}

/// Parameters of MXFP4 experts on one GPU: kernels want their width in whole 128 and the model's
/// in whole 256 (Marlin and TensorRT-LLM, in vLLM's
/// `mxfp4_round_up_hidden_size_and_intermediate_size`).
fn padded_experts(matrix: &Matrix, moe: Moe, parallel: Parallelism) -> u64 {
    let width = u64::from(moe.moe_intermediate);
    let hidden = if matrix.rows == width { matrix.columns } else { matrix.rows };
    let slice = width.div_ceil(parallel.tensor.into()).next_multiple_of(128);
    slice * hidden.next_multiple_of(256) * u64::from(matrix.copies)
}

/// Stores each matrix, and the LM head, as the scheme says.
pub(in crate::hardware::model) fn store(
    layers: &mut [Layer],
    spec: &mut ModelSpec,
    scheme: &Scheme,
) {
    for (index, layer) in layers.iter_mut().enumerate() {
        for matrix in layer.matrices.iter_mut().filter(|matrix| matrix.quantizable) {
            let expert = matrix.split == Split::Copies;
            matrix.weights = scheme.of(&format!("layers.{index}.{}", matrix.module), expert);
        }
    }
    spec.kv_cache = scheme.kv_cache;
    spec.weight_block = scheme.block;
    spec.head_weights = scheme.of("lm_head", false);
    spec.weights = most_common(layers);
}

/// How most parameters of quantised matrices are stored; 16 bits if none is quantised.
fn most_common(layers: &[Layer]) -> Weights {
    let mut by_weights: Vec<(Weights, u64)> = Vec::new();
    let matrices = layers.iter().flat_map(|layer| &layer.matrices);
    for matrix in matrices.filter(|matrix| matrix.weights.quantized()) {
        match by_weights.iter_mut().find(|(weights, _)| *weights == matrix.weights) {
            Some((_, params)) => *params += matrix.params(),
            None => by_weights.push((matrix.weights, matrix.params())),
        }
    }
    by_weights.into_iter().max_by_key(|(_, params)| *params).map_or(Weights::Half, |(w, _)| w)
}

/// Gives `spec` its layers, unless its fields describe each of them.
pub(in crate::hardware::model) fn settle(layers: Vec<Layer>, spec: &mut ModelSpec) {
    let nameless = |layer: &Layer| {
        let mut layer = layer.clone();
        for matrix in &mut layer.matrices {
            matrix.module = "".into();
        }
        layer
    };
    let alike = nameless(&uniform(spec));
    if layers.iter().any(|layer| nameless(layer) != alike) {
        spec.stack = runs(layers);
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

//! Sizes of models whose layers are not all alike, and what all models keep of tokens by the kind
//! of layer.

use std::borrow::Cow;

use super::ModelSpec;
use super::layers::{Layer, LayerRun, Mixer, Reach, uniform};
use super::size::sum;
use crate::hardware::Parallelism;

impl ModelSpec {
    /// The layers in order.
    pub fn layer_runs(&self) -> Cow<'_, [LayerRun]> {
        match self.stack.is_empty() {
            true => Cow::Owned(vec![LayerRun { count: self.layers, layer: uniform(self) }]),
            false => Cow::Borrowed(&self.stack),
        }
    }

    /// Whether all layers are alike, and attend with keys and values of heads.
    pub fn is_uniform(&self) -> bool {
        self.stack.is_empty()
    }

    /// Whether each layer keeps something of every token: none has a window, a chunk or a state.
    pub fn keeps_every_token(&self) -> bool {
        let mixers = self.stack.iter().flat_map(|run| &run.layer.mixers);
        let mut kept = mixers.filter(|mixer| **mixer != Mixer::Cross);
        kept.all(|mixer| mixer.reach() == Some(Reach::All))
    }

    /// A model of the last `layers` layers: heads that draft tokens are built like them.
    pub fn last_layers(&self, layers: u32) -> ModelSpec {
        let mut left = layers;
        let mut stack = Vec::new();
        for run in self.stack.iter().rev() {
            let count = run.count.min(left);
            left -= count;
            if count > 0 {
                stack.insert(0, LayerRun { count, layer: run.layer.clone() });
            }
        }
        ModelSpec { layers, stack, ..self.clone() }
    }

    /// How many layers there are of each kind, most frequent first.
    pub fn layer_kinds(&self) -> Vec<(String, u32)> {
        let mut kinds: Vec<(String, u32)> = Vec::new();
        for run in self.layer_runs().iter() {
            let kind = run.layer.kind();
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += run.count,
                None => kinds.push((kind, run.count)),
            }
        }
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kinds
    }

    /// Elements of keys and values of one token, over all heads, in layers that keep every token.
    pub fn kv_elements_full(&self) -> u64 {
        sum(&self.layer_runs(), |layer| {
            let all = layer.mixers.iter().filter(|mixer| mixer.reach() == Some(Reach::All));
            all.map(Mixer::kv_elements).sum()
        })
    }

    /// The same in layers that keep a window or a chunk.
    pub fn kv_elements_sliding(&self) -> u64 {
        sum(&self.layer_runs(), |layer| {
            let near = layer.mixers.iter();
            let near = near.filter(|mixer| !matches!(mixer.reach(), None | Some(Reach::All)));
            near.map(Mixer::kv_elements).sum()
        })
    }

    /// Bytes of indexer keys of one token, on each GPU.
    pub fn indexer_bytes_per_token(&self) -> u64 {
        sum(&self.layer_runs(), |layer| layer.mixers.iter().map(Mixer::indexer_bytes).sum())
    }

    /// Bytes of the states of one sequence, over all GPUs.
    pub fn state_bytes_per_sequence(&self) -> u64 {
        sum(&self.layer_runs(), |layer| layer.mixers.iter().map(Mixer::state_bytes).sum())
    }

    /// Bytes of the checkpoint, scales included.
    pub fn checkpoint_bytes(&self) -> u64 {
        if self.is_uniform() {
            return self.weight_bytes(Parallelism::default());
        }
        let layers: f64 = self
            .stack
            .iter()
            .map(|run| f64::from(run.count) * run.layer.checkpoint_bytes(self.dtype_bytes))
            .sum();
        let vocab = u64::from(self.vocab) * u64::from(self.hidden);
        let head = if self.tie_word_embeddings { 0.0 } else { self.head_weights.bytes() };
        let others = u64::from(self.hidden) + self.other_params;
        let ends = vocab as f64 * (self.dtype_bytes + head) + others as f64 * self.dtype_bytes;
        (layers + ends).ceil() as u64
    }

    /// Bytes of weights on the fullest GPU of a model with a list of layers.
    pub(super) fn stacked_bytes(&self, parallel: Parallelism) -> u64 {
        let bytes = |layer: &Layer| layer.bytes_per_gpu(parallel, self.dtype_bytes);
        let vocab = u64::from(self.vocab.div_ceil(parallel.tensor)) * u64::from(self.hidden);
        let embedding = vocab as f64 * self.dtype_bytes;
        let head = vocab as f64 * self.head_weights.bytes()
            + (u64::from(self.hidden) + self.other_params) as f64 * self.dtype_bytes;
        let stages = self.by_stage(parallel, bytes);
        let last = stages.len().saturating_sub(1);
        let whole = |(stage, layers): (usize, f64)| {
            let first = if stage == 0 { embedding } else { 0.0 };
            // Tied, the matrix is there once on a GPU that holds both ends.
            let head = match (stage == last, stage == 0 && self.tie_word_embeddings) {
                (false, _) => 0.0,
                (true, false) => head,
                (true, true) => head - vocab as f64 * self.head_weights.bytes(),
            };
            layers + first + head
        };
        stages.into_iter().enumerate().map(whole).fold(0.0, f64::max).ceil() as u64
    }

    /// Bytes that one token takes on each GPU in the layers that keep every token, indexer keys
    /// included; those of the stage that has most.
    pub(super) fn stacked_kv_bytes(&self, parallel: Parallelism) -> u64 {
        let bytes = |layer: &Layer| {
            let all = layer.mixers.iter().filter(|mixer| mixer.reach() == Some(Reach::All));
            all.map(|mixer| {
                let elements = mixer.kv_elements_per_gpu(parallel) as f64;
                elements * self.kv_cache.bytes() + mixer.indexer_bytes() as f64
            })
            .sum()
        };
        self.by_stage(parallel, bytes).into_iter().fold(0.0, f64::max).ceil() as u64
    }

    /// The sums of each pipeline stage.
    fn by_stage(&self, parallel: Parallelism, of: impl Fn(&Layer) -> f64) -> Vec<f64> {
        let per_stage = self.layers_per_stage(parallel).max(1) as usize;
        let runs = self.layer_runs();
        let each: Vec<f64> = runs
            .iter()
            .flat_map(|run| std::iter::repeat_n(of(&run.layer), run.count as usize))
            .collect();
        each.chunks(per_stage).map(|stage| stage.iter().sum()).collect()
    }
}

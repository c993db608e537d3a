//! One layer of a pass: its matrices, what mixes tokens, and what is sent between GPUs.

use std::sync::OnceLock;

use super::attention::Kind;
use super::basis::{Cost, Parts};
use super::estimate;
use super::pass::{ACTIVATION, Moved, OperatorSource, PerCount};
use super::reach::Attention;
use super::speed::{Experts, Heads};
use crate::hardware::Parallelism;
use crate::hardware::model::layers::{Layer, Matrix, Mixer, Split};
use crate::hardware::model::{KvCache, ModelSpec};
use crate::profile::operators::Dtype;
use crate::timing::BatchShape;

/// Passes of up to this many tokens are computed once.
const REMEMBERED: usize = 16 * 1024;

/// Rotary embedding and writing of the KV cache in a pass with prompts: four small kernels, 10 %
/// apart from one another. (Decode attention was measured with them.)
const PREFILL_EXTRA: f64 = 1.1;

/// What mixes tokens, by what it is priced with.
enum Mixing {
    /// Attention with keys and values of heads, from the source's tables.
    Attention(Attention),
    /// Anything else, by the data sheet.
    Estimate(estimate::PerPass),
}

/// A layer's operators on one GPU.
pub(super) struct LayerPass {
    hidden: f64,
    moved: Moved,
    /// Norms, and whether queries and keys are normed, too.
    norms: f64,
    qk_norm: bool,
    /// Width of each MLP on this GPU, and how many times as many elements come in.
    mlps: Vec<(f64, f64)>,
    products: Vec<PerCount>,
    mixing: Vec<Mixing>,
    /// All-reduces.
    pub(super) reduces: f64,
    /// Times without mixing and collectives, by tokens.
    memo: Vec<OnceLock<Parts>>,
}

/// Times of a layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LayerTime {
    pub(super) all: Parts,
    pub(super) prefill: Cost,
    pub(super) decode: Cost,
}

impl LayerPass {
    /// The operators of `layer`.
    ///
    /// # Errors
    /// What `source` lacks.
    pub(super) fn new(
        source: &mut dyn OperatorSource,
        model: &ModelSpec,
        layer: &Layer,
        parallel: Parallelism,
    ) -> Result<LayerPass, String> {
        let kv_dtype = match model.kv_cache {
            KvCache::Fp16 => Dtype::Bf16,
            KvCache::Fp8 => Dtype::Fp8,
            KvCache::Int8 => Dtype::Int8,
        };
        let mut mixing = Vec::new();
        for mixer in &layer.mixers {
            mixing.push(match *mixer {
                Mixer::Attention { q_heads, kv_heads, key_dim, value_dim, reach, .. } => {
                    let share = |count: u32| count.div_ceil(parallel.tensor);
                    // Tables are of keys as wide as values: what both have together counts.
                    let head_dim = (key_dim + value_dim) / 2;
                    let heads =
                        Heads { q: share(q_heads), kv: share(kv_heads), head_dim, kv_dtype };
                    Mixing::Attention(Attention {
                        q_width: f64::from(heads.q * heads.head_dim),
                        kv_width: f64::from(heads.kv * heads.head_dim),
                        reach,
                        prefill: source.attention(Kind::Prefill, heads)?,
                        decode: source.attention(Kind::Decode, heads)?,
                    })
                }
                other => {
                    source.note_estimate(other.operator());
                    let sheet = source.sheet();
                    Mixing::Estimate(estimate::of(other, sheet, parallel, model.kv_cache.bytes()))
                }
            });
        }
        // Attention to images is not run for text, nor is its MLP.
        let run = layer.mixers != [Mixer::Cross];
        let products = if run { products(source, layer, parallel)? } else { Vec::new() };
        let attends = layer.mixers.iter().map(Mixer::outputs).max().unwrap_or(0);
        let outputs = layer.mixers.iter().map(Mixer::outputs).sum::<u32>();
        let summed = layer.matrices.iter().filter(|m| matches!(m.split, Split::Columns(_)));
        let mlps = (summed.count() as u32).saturating_sub(outputs);
        let mlps = mlps.max(u32::from(layer.experts.is_some()));
        Ok(LayerPass {
            hidden: f64::from(model.hidden),
            moved: Moved::new(source.memory()),
            norms: if model.post_attn_norm { 2.0 } else { 1.0 },
            qk_norm: model.qk_norm,
            mlps: if run { mlp_widths(&layer.matrices, parallel) } else { Vec::new() },
            products,
            mixing,
            reduces: if run { f64::from(attends + mlps) } else { 0.0 },
            memo: (0..=REMEMBERED).map(|_| OnceLock::new()).collect(),
        })
    }

    /// The time of `batch`.
    pub(super) fn time(&self, batch: &BatchShape, skew: f64) -> LayerTime {
        let mut time = LayerTime { all: self.without_mixing(batch.tokens), ..LayerTime::default() };
        for mixing in &self.mixing {
            let (prefill, decode) = match mixing {
                Mixing::Attention(attention) => {
                    (attention.prefill(batch), attention.decode(batch, skew))
                }
                Mixing::Estimate(estimate) => estimate(batch),
            };
            time.all += prefill;
            time.all += decode;
            time.prefill = prefill.with(time.prefill.us + prefill.us).at_best(time.prefill.basis);
            time.decode = decode.with(time.decode.us + decode.us).at_best(time.decode.basis);
            if let (Mixing::Attention(attention), false) = (mixing, batch.prefills.is_empty()) {
                // As the tables' source has it: with the bytes of one token, so in effect constant.
                let key_values = 2.0 * attention.kv_width;
                let rope = 2.0 * self.moved.us(2.0 * attention.q_width + key_values);
                let extra = PREFILL_EXTRA * (rope + 2.0 * self.moved.us(key_values));
                time.all += Cost::transferred(extra);
            }
        }
        time
    }

    fn without_mixing(&self, tokens: u32) -> Parts {
        match self.memo.get(tokens as usize) {
            Some(memo) => *memo.get_or_init(|| self.compute(f64::from(tokens))),
            None => self.compute(f64::from(tokens)),
        }
    }

    fn compute(&self, tokens: f64) -> Parts {
        let mut all = Parts::default();
        let elements = |count: f64| self.moved.us(tokens * count * ACTIVATION);
        // Residual and norm in one kernel: both are read and written.
        all += Cost::transferred(self.norms * elements(4.0 * self.hidden));
        for mixing in &self.mixing {
            if let (Mixing::Attention(attention), true) = (mixing, self.qk_norm) {
                let widths = [attention.q_width, attention.kv_width];
                all += Cost::transferred(widths.map(|width| elements(2.0 * width)).iter().sum());
            }
        }
        for (width, inputs) in &self.mlps {
            all += Cost::transferred(elements((inputs + 1.0) * width));
        }
        for product in &self.products {
            all += product(tokens);
        }
        all
    }
}

/// Products with the matrices, those that are computed together as one, experts as a whole.
fn products(
    source: &mut dyn OperatorSource,
    layer: &Layer,
    parallel: Parallelism,
) -> Result<Vec<PerCount>, String> {
    let mut products = Vec::new();
    let mut matrices = layer.matrices.iter().filter(|matrix| !matrix.table).peekable();
    while let Some(first) = matrices.next() {
        let weights = first.weights;
        if first.split == Split::Copies {
            let mut count = 1.0;
            while matrices.next_if(|matrix| matrix.split == Split::Copies).is_some() {
                count += 1.0;
            }
            // Priced as three matrices of a gated MLP: two are as wide as two thirds.
            let width = first.rows as f64 / f64::from(parallel.tensor) * (count / 3.0);
            products.push(source.experts(
                weights,
                Experts {
                    dtype: Dtype::Bf16,
                    hidden: fit(first.columns),
                    width,
                    experts: first.copies,
                    top_k: first.active,
                },
            )?);
            continue;
        }
        let (mut rows, columns) = first.shape_per_gpu(parallel);
        while let Some(next) = matrices.next_if(|matrix| matrix.joined && matrix.weights == weights)
        {
            rows += next.shape_per_gpu(parallel).0;
        }
        products.push(source.gemm(weights, fit(rows), fit(columns))?);
    }
    Ok(products)
}

/// Widths of the MLPs that every token meets, and how many matrices each reads its input with.
fn mlp_widths(matrices: &[Matrix], parallel: Parallelism) -> Vec<(f64, f64)> {
    let dense =
        |matrix: &&Matrix| matrix.split != Split::Copies && matrix.module.ends_with("up_proj");
    let widths = matrices.iter().filter(dense).map(|matrix| {
        let inputs = if matrix.joined { 2.0 } else { 1.0 };
        (matrix.shape_per_gpu(parallel).0 as f64, inputs)
    });
    widths.collect()
}

/// Sizes are bounded when a model is read.
fn fit(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

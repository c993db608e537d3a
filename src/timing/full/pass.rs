//! One pass of a batch through a model's operators.

use super::attention::Kind;
use super::basis::{Cost, Parts};
use super::collective::Transfer;
use super::estimate::Sheet;
use super::layer_pass::LayerPass;
use super::speed::{Experts, Heads};
use crate::hardware::Parallelism;
use crate::hardware::model::layers::Layer;
use crate::hardware::model::{ModelSpec, Weights};
use crate::timing::{BatchShape, StagePosition};

/// The time of an operator by one count: tokens, requests or bytes.
pub(super) type PerCount = Box<dyn Fn(f64) -> Cost + Send + Sync>;

/// The time of attention by requests and tokens of each.
pub(super) type PerBatch = Box<dyn Fn(f64, f64) -> Cost + Send + Sync>;

/// What operators cost on a device.
pub(super) trait OperatorSource {
    /// Products with a matrix of `k` rows and `n` columns, by the rows of the other factor.
    fn gemm(&mut self, weights: Weights, n: u32, k: u32) -> Result<PerCount, String>;
    /// Attention by requests and tokens of each.
    fn attention(&mut self, kind: Kind, heads: Heads) -> Result<PerBatch, String>;
    /// A block's experts by tokens; the type in `shape` is that of a product of 16 bits.
    fn experts(&mut self, weights: Weights, shape: Experts) -> Result<PerCount, String>;
    /// All-reduce by bytes.
    fn all_reduce(&mut self, gpus: u32) -> Result<PerCount, String>;
    /// Transfers between pipeline stages of `gpus` in all.
    fn transfer(&mut self, gpus: u32) -> Result<Transfer, String>;
    /// The data sheet, for what has no tables.
    fn sheet(&self) -> Sheet;
    /// Remembers that `operator` is an estimate from the data sheet.
    fn note_estimate(&mut self, operator: &str);
    /// Bytes of device memory per microsecond.
    fn memory(&self) -> f64;
    /// Most rows of a matrix product that are known.
    fn most_rows(&self) -> f64;
}

/// Bytes of an activation.
pub(super) const ACTIVATION: f64 = 2.0;

/// Share of the peak bandwidth that kernels which only move bytes reach, and microseconds that each
/// takes at least. Constants of AISimulate's, the same for all devices.
const MOVED_EFFICIENCY: f64 = 0.8;
const MOVED_LEAST_US: f64 = 3.0;

/// Logits are sampled as 32-bit numbers: read as 16, written, and read once more.
const SAMPLER_BYTES: f64 = 2.0 + 4.0 + 4.0;

/// Kernels that only move bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// Bytes per microsecond.
    speed: f64,
}

impl Moved {
    /// On a device that moves `memory` bytes per microsecond at best.
    pub(super) fn new(memory: f64) -> Moved {
        Moved { speed: memory * MOVED_EFFICIENCY }
    }

    /// Microseconds of a kernel.
    pub(super) fn us(self, bytes: f64) -> f64 {
        bytes / self.speed + MOVED_LEAST_US
    }
}

/// A model's operators on one GPU of a replica.
pub(super) struct Pass {
    hidden: f64,
    vocab: f64,
    moved: Moved,
    /// Layers of different shapes.
    layers: Vec<LayerPass>,
    /// How many of each there are, by pipeline stage.
    stages: Vec<Vec<(usize, f64)>>,
    /// Most tokens with which matrix products are known.
    pub(super) most_rows: f64,
    lm_head: PerCount,
    all_reduce: Option<PerCount>,
    transfer: Option<Transfer>,
}

/// Where the time of a pass goes, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breakdown {
    /// Everything, by what it rests on.
    pub(super) all: Parts,
    pub(super) prefill: Cost,
    pub(super) decode: Cost,
    pub(super) communication: Cost,
}

impl Pass {
    /// The operators of `model` over `parallel` GPUs.
    ///
    /// # Errors
    /// What `source` lacks.
    pub(super) fn new(
        source: &mut dyn OperatorSource,
        model: &ModelSpec,
        parallel: Parallelism,
    ) -> Result<Pass, String> {
        let share = |count: u32| count.div_ceil(parallel.tensor);
        let mut shapes: Vec<Layer> = Vec::new();
        let mut layers = Vec::new();
        let mut each = Vec::new();
        for run in model.layer_runs().iter() {
            let at = match shapes.iter().position(|shape| *shape == run.layer) {
                Some(at) => at,
                None => {
                    layers.push(LayerPass::new(source, model, &run.layer, parallel)?);
                    shapes.push(run.layer.clone());
                    shapes.len() - 1
                }
            };
            each.extend(std::iter::repeat_n(at, run.count as usize));
        }
        let per_stage = (model.layers_per_stage(parallel) as usize).max(1);
        let count = |stage: &[usize]| {
            let shapes = (0..shapes.len())
                .map(|at| (at, stage.iter().filter(|layer| **layer == at).count() as f64));
            shapes.filter(|(_, count)| *count > 0.0).collect()
        };
        let many = parallel.tensor > 1;
        let staged = parallel.pipeline > 1;
        Ok(Pass {
            hidden: f64::from(model.hidden),
            vocab: f64::from(share(model.vocab)),
            moved: Moved::new(source.memory()),
            layers,
            stages: each.chunks(per_stage).map(count).collect(),
            lm_head: source.gemm(model.head_weights, share(model.vocab), model.hidden)?,
            all_reduce: many.then(|| source.all_reduce(parallel.tensor)).transpose()?,
            transfer: staged.then(|| source.transfer(parallel.gpus())).transpose()?,
            most_rows: source.most_rows(),
        })
    }

    /// The time of `batch` on `stage`. Of the requests' contexts `skew` is the share by which a
    /// batch takes longer than one of equal contexts, towards one in which all are as long as the
    /// longest.
    pub(super) fn time(&self, batch: &BatchShape, stage: StagePosition, skew: f64) -> Breakdown {
        let tokens = f64::from(batch.tokens);
        let requests = f64::from(batch.sampled());
        let mut collective = Cost::default();
        if let Some(all_reduce) = &self.all_reduce {
            collective = all_reduce(tokens * self.hidden * ACTIVATION);
        }
        let mut all = Parts::default();
        let (mut prefill, mut decode) = (Cost::default(), Cost::default());
        let mut communication = collective.with(0.0);
        let at = usize::try_from(stage.index).unwrap_or(usize::MAX);
        for &(layer, count) in self.stages.get(at).map_or(&[][..], Vec::as_slice) {
            let layer = &self.layers[layer];
            let mut time = layer.time(batch, skew);
            if self.all_reduce.is_some() {
                time.all += collective.with(layer.reduces * collective.us);
            }
            all += time.all.times(count);
            let add = |sum: Cost, one: Cost| one.with(sum.us + one.us * count).at_best(sum.basis);
            prefill = add(prefill, time.prefill);
            decode = add(decode, time.decode);
            communication.us += layer.reduces * collective.us * count;
        }
        if stage.index == 0 {
            all += Cost::transferred(self.moved.us(tokens * self.hidden * ACTIVATION));
            all += collective;
            communication.us += collective.us;
        }
        if stage.index + 1 == stage.count {
            all += (self.lm_head)(requests);
            all += Cost::transferred(self.sampling_us(batch));
        } else if let Some(transfer) = &self.transfer {
            let cost = transfer.cost(tokens * self.hidden * ACTIVATION);
            all += cost;
            communication = communication.with(communication.us + cost.us).at_best(cost.basis);
        }
        Breakdown { all, prefill, decode, communication }
    }

    /// The final norm and sampling, after the LM head.
    pub(super) fn sampling_us(&self, batch: &BatchShape) -> f64 {
        let requests = f64::from(batch.sampled());
        self.moved.us(2.0 * f64::from(batch.tokens) * self.hidden * ACTIVATION)
            + self.moved.us(requests * self.vocab * SAMPLER_BYTES)
    }
}

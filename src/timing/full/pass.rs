//! One pass of a batch through a model's operators.

use std::sync::OnceLock;

use super::attention::{Kind, prompt};
use super::basis::{Cost, Parts};
use super::collective::Transfer;
use super::speed::{Experts, Heads};
use crate::hardware::Parallelism;
use crate::hardware::model::{KvCache, ModelSpec, Weights};
use crate::profile::operators::Dtype;
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
    /// Bytes of device memory per microsecond.
    fn memory(&self) -> f64;
    /// Most rows of a matrix product that are known.
    fn most_rows(&self) -> f64;
}

/// Bytes of an activation.
const ACTIVATION: f64 = 2.0;

/// Share of the peak bandwidth that kernels which only move bytes reach, and microseconds that each
/// takes at least. Constants of AISimulate's, the same for all devices.
const MOVED_EFFICIENCY: f64 = 0.8;
const MOVED_LEAST_US: f64 = 3.0;

/// Rotary embedding and writing of the KV cache in a pass with prompts: four small kernels, 10 %
/// apart from one another. (Decode attention was measured with them.)
const PREFILL_EXTRA: f64 = 1.1;

/// Logits are sampled as 32-bit numbers: read as 16, written, and read once more.
const SAMPLER_BYTES: f64 = 2.0 + 4.0 + 4.0;

/// Passes of up to this many tokens are computed once.
const REMEMBERED: usize = 16 * 1024;

/// A model's operators on one GPU of a replica.
pub(super) struct Pass {
    hidden: f64,
    /// Elements of queries, and of keys or values, for one token on this GPU.
    q_width: f64,
    kv_width: f64,
    /// Elements between gate/up and down projection, and how many times as many come in.
    mlp: Option<(f64, f64)>,
    norms: f64,
    qk_norm: bool,
    vocab: f64,
    /// Bytes per microsecond of kernels that only move them.
    moved: f64,
    blocks: f64,
    /// Most tokens with which matrix products are known.
    pub(super) most_rows: f64,
    gemms: Gemms,
    prefill: PerBatch,
    decode: PerBatch,
    all_reduce: Option<PerCount>,
    transfer: Option<Transfer>,
    /// Times of one block, without attention and collectives, by tokens.
    block_memo: Vec<OnceLock<Parts>>,
}

struct Gemms {
    qkv: PerCount,
    out: PerCount,
    /// Gate/up and down projection, or router and experts.
    mlp: [PerCount; 2],
    lm_head: PerCount,
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
        let weights = model.weights;
        let kv_dtype = match model.kv_cache {
            KvCache::Fp16 => Dtype::Bf16,
            KvCache::Fp8 => Dtype::Fp8,
            KvCache::Int8 => Dtype::Int8,
        };
        let heads = Heads {
            q: share(model.q_heads),
            kv: share(model.kv_heads),
            head_dim: model.head_dim,
            kv_dtype,
        };
        let (q, kv) = (heads.q * heads.head_dim, heads.kv * heads.head_dim);
        let hidden = model.hidden;
        let width = share(model.intermediate);
        let inputs = if model.gated_mlp { 2 } else { 1 };
        let mlp = match model.experts {
            None => [
                source.gemm(weights, inputs * width, hidden)?,
                source.gemm(weights, hidden, width)?,
            ],
            Some(moe) => [
                source.gemm(Weights::Half, moe.experts, hidden)?,
                source.experts(
                    weights,
                    Experts {
                        dtype: Dtype::Bf16,
                        hidden,
                        width: f64::from(moe.moe_intermediate) / f64::from(parallel.tensor),
                        experts: moe.experts,
                        top_k: moe.experts_per_token,
                    },
                )?,
            ],
        };
        let many = parallel.tensor > 1;
        let staged = parallel.pipeline > 1;
        Ok(Pass {
            hidden: f64::from(hidden),
            q_width: f64::from(q),
            kv_width: f64::from(kv),
            mlp: model.experts.is_none().then(|| (f64::from(width), f64::from(inputs))),
            norms: if model.post_attn_norm { 2.0 } else { 1.0 },
            qk_norm: model.qk_norm,
            vocab: f64::from(share(model.vocab)),
            moved: source.memory() * MOVED_EFFICIENCY,
            blocks: f64::from(model.layers_per_stage(parallel)),
            gemms: Gemms {
                qkv: source.gemm(weights, q + 2 * kv, hidden)?,
                out: source.gemm(weights, hidden, q)?,
                mlp,
                lm_head: source.gemm(Weights::Half, share(model.vocab), hidden)?,
            },
            prefill: source.attention(Kind::Prefill, heads)?,
            decode: source.attention(Kind::Decode, heads)?,
            all_reduce: many.then(|| source.all_reduce(parallel.tensor)).transpose()?,
            transfer: staged.then(|| source.transfer(parallel.gpus())).transpose()?,
            most_rows: source.most_rows(),
            block_memo: (0..=REMEMBERED).map(|_| OnceLock::new()).collect(),
        })
    }

    /// The time of `batch` on `stage`. Of the requests' contexts `skew` is the share by which a
    /// batch takes longer than one of equal contexts, towards one in which all are as long as the
    /// longest.
    pub(super) fn time(&self, batch: &BatchShape, stage: StagePosition, skew: f64) -> Breakdown {
        let tokens = f64::from(batch.tokens);
        let requests = f64::from(batch.sampled());
        let mut all = self.block(batch.tokens);
        let prefill = self.prefill(batch);
        let decode = self.decode(batch, skew);
        all += prefill;
        all += decode;
        if !batch.prefills.is_empty() {
            // As the tables' source has it: with the bytes of one token, so in effect constant.
            let key_values = 2.0 * self.kv_width;
            let rope = 2.0 * self.moved_us(2.0 * self.q_width + key_values);
            all += Cost::transferred(PREFILL_EXTRA * (rope + 2.0 * self.moved_us(key_values)));
        }
        let mut collective = Cost::default();
        if let Some(all_reduce) = &self.all_reduce {
            collective = all_reduce(tokens * self.hidden * ACTIVATION);
            all += collective.with(2.0 * collective.us);
        }
        all = all.times(self.blocks);
        let mut communication = collective.with(2.0 * collective.us * self.blocks);
        if stage.index == 0 {
            all += Cost::transferred(self.moved_us(tokens * self.hidden * ACTIVATION));
            all += collective;
            communication.us += collective.us;
        }
        if stage.index + 1 == stage.count {
            all += (self.gemms.lm_head)(requests);
            all += Cost::transferred(self.sampling_us(batch));
        } else if let Some(transfer) = &self.transfer {
            let cost = transfer.cost(tokens * self.hidden * ACTIVATION);
            all += cost;
            communication = communication.with(communication.us + cost.us).at_best(cost.basis);
        }
        Breakdown {
            all,
            prefill: prefill.with(prefill.us * self.blocks),
            decode: decode.with(decode.us * self.blocks),
            communication,
        }
    }

    /// The final norm and sampling, after the LM head.
    pub(super) fn sampling_us(&self, batch: &BatchShape) -> f64 {
        let requests = f64::from(batch.sampled());
        self.moved_us(2.0 * f64::from(batch.tokens) * self.hidden * ACTIVATION)
            + self.moved_us(requests * self.vocab * SAMPLER_BYTES)
    }

    /// One block without attention and collectives.
    fn block(&self, tokens: u32) -> Parts {
        match self.block_memo.get(tokens as usize) {
            Some(memo) => *memo.get_or_init(|| self.compute_block(f64::from(tokens))),
            None => self.compute_block(f64::from(tokens)),
        }
    }

    fn compute_block(&self, tokens: f64) -> Parts {
        let mut all = Parts::default();
        let elements = |count: f64| self.moved_us(tokens * count * ACTIVATION);
        // Residual and norm in one kernel: both are read and written.
        all += Cost::transferred(self.norms * elements(4.0 * self.hidden));
        if self.qk_norm {
            all += Cost::transferred(elements(2.0 * self.q_width) + elements(2.0 * self.kv_width));
        }
        if let Some((width, inputs)) = self.mlp {
            all += Cost::transferred(elements((inputs + 1.0) * width));
        }
        let [first, second] = &self.gemms.mlp;
        for gemm in [&self.gemms.qkv, &self.gemms.out, first, second] {
            all += gemm(tokens);
        }
        all
    }

    /// Attention of prompts in one block: each by its own length and context, at the efficiency of
    /// as many requests together.
    fn prefill(&self, batch: &BatchShape) -> Cost {
        let together = batch.prefills.len() as f64;
        let mut sum = Cost::default();
        for part in &batch.prefills {
            let (tokens, context) = (f64::from(part.tokens), f64::from(part.context));
            let cost = prompt(&self.prefill, together, tokens, context);
            sum = sum.with(sum.us + cost.us / together).at_best(cost.basis);
        }
        sum
    }

    /// Attention of decoding requests in one block.
    ///
    /// Bytes are those of the mean context; work is spread over the device by request, so that the
    /// longest ones finish late: a share `skew` of the way to a batch that is all as long as the
    /// longest, and not before the longest would alone.
    ///
    /// Drafts are verified by the same kernel, which reads the KV cache once for all tokens of a
    /// request: it takes as long as one token each with that context, or as long as prompts take
    /// for as many pairs of query and key, whichever is longer.
    fn decode(&self, batch: &BatchShape, skew: f64) -> Cost {
        if batch.decodes == 0 {
            return Cost::default();
        }
        let requests = f64::from(batch.decodes);
        let mean = batch.decode_context_mean();
        let mut cost = (self.decode)(requests, mean);
        if batch.drafts > 0 {
            // A prompt of s tokens has s^2 / 2 pairs.
            let pairs = (batch.decode_context + batch.draft_context) as f64;
            let compute = (self.prefill)(1.0, mean).us * 2.0 * pairs / (mean * mean);
            cost = cost.with(cost.us.max(compute));
        }
        let longest = f64::from(batch.decode_context_max);
        if batch.decodes == 1 || longest <= mean {
            return cost;
        }
        let all_longest = (self.decode)(requests, longest).us.max(cost.us);
        let alone = (self.decode)(1.0, longest);
        cost.with((cost.us + skew * (all_longest - cost.us)).max(alone.us))
    }

    fn moved_us(&self, bytes: f64) -> f64 {
        bytes / self.moved + MOVED_LEAST_US
    }
}

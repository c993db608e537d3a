//! What mixes tokens and has no measured tables yet: latent and compressed attention, recurrences.
//! Times are estimates from the device's data sheet, and labelled as such.
//!
//! Prompts run latent attention with keys and values of all heads, decoding requests in the
//! "absorbed" form, in which every head reads the same vector (DeepSeek-V2, arXiv:2405.04434,
//! section 2.1). Kernels for it reach about the shares of the data sheet that prompts' attention
//! (compute) and decode attention (bandwidth) reach elsewhere: FlashMLA reports 660 TFLOP/s and
//! 3000 GB/s on an H800 (README of deepseek-ai/FlashMLA).

use super::basis::Cost;
use super::reach::pairs;
use super::roofline::{Efficiencies, Efficiency};
use super::speed::Speed;
use crate::hardware::Parallelism;
use crate::hardware::model::layers::{Indexer, LinearState, Mixer, Reach};
use crate::timing::BatchShape;

/// The times of a batch's prompts and of its decoding requests.
pub(super) type PerPass = Box<dyn Fn(&BatchShape) -> (Cost, Cost) + Send + Sync>;

/// A device's data sheet, and what share of it operators reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sheet {
    pub(super) speed: Speed,
    pub(super) efficiencies: Efficiencies,
}

impl Sheet {
    /// Microseconds of `flops` in 16 bits and `bytes`, in one kernel.
    fn us(&self, flops: f64, bytes: f64) -> f64 {
        let Efficiencies { prefill, decode, .. } = self.efficiencies;
        let both = Efficiency {
            compute: prefill.compute,
            memory: decode.memory,
            launch_us: decode.launch_us,
            sharpness: decode.sharpness,
        };
        both.us([flops / self.speed.half_flops(), bytes / self.speed.memory])
    }
}

/// The estimate for a mixer other than attention with heads.
pub(super) fn of(mixer: Mixer, sheet: Sheet, parallel: Parallelism, kv_bytes: f64) -> PerPass {
    let gpus = f64::from(parallel.tensor);
    match mixer {
        Mixer::Latent { q_heads, latent, rope, nope, value_dim, reach, caches, indexer } => {
            let heads = (f64::from(q_heads) / gpus).ceil() * f64::from(caches);
            let (latent, rope) = (f64::from(latent), f64::from(rope));
            let index = indexer.map(|indexer| Index::new(indexer, sheet));
            let most = match reach {
                Reach::Window(tokens) | Reach::Chunk(tokens) => f64::from(tokens),
                Reach::All => indexer.map_or(f64::INFINITY, |indexer| f64::from(indexer.topk)),
            };
            attention(Shared {
                sheet,
                prompt_flops: 2.0 * heads * (f64::from(nope + value_dim) + rope),
                decode_flops: 2.0 * heads * (2.0 * latent + rope),
                bytes: f64::from(caches) * (latent + rope) * kv_bytes,
                ratio: 1.0,
                most,
                index,
            })
        }
        Mixer::Compressed { q_heads, latent, ratio, indexer, index_heads, topk, .. } => {
            let heads = (f64::from(q_heads) / gpus).ceil();
            let latent = f64::from(latent);
            let flops = 4.0 * heads * latent;
            let index = (index_heads > 0).then_some(Index {
                sheet,
                flops: f64::from(index_heads) * f64::from(indexer),
                bytes: f64::from(indexer) + 4.0,
                ratio: f64::from(ratio.max(1)),
            });
            attention(Shared {
                sheet,
                prompt_flops: flops,
                decode_flops: flops,
                bytes: latent * kv_bytes,
                ratio: f64::from(ratio.max(1)),
                most: if topk > 0 { f64::from(topk) } else { f64::INFINITY },
                index,
            })
        }
        Mixer::Linear(state) => recurrence(state, sheet, gpus),
        Mixer::Attention { .. } | Mixer::Cross => Box::new(|_| (Cost::default(), Cost::default())),
    }
}

/// Attention whose heads share what is kept of a token.
struct Shared {
    sheet: Sheet,
    /// FLOPs of a pair of query and key over this GPU's heads.
    prompt_flops: f64,
    decode_flops: f64,
    /// Bytes that are kept of a token (or of a compressed one).
    bytes: f64,
    /// Tokens that are kept as one.
    ratio: f64,
    /// How many of those are seen at most.
    most: f64,
    index: Option<Index>,
}

/// The indexer that picks tokens, in 8-bit floats.
struct Index {
    sheet: Sheet,
    /// FLOPs of a pair, halved for 8 bits.
    flops: f64,
    bytes: f64,
    ratio: f64,
}

impl Index {
    fn new(indexer: Indexer, sheet: Sheet) -> Index {
        // Layers without an indexer of their own take an earlier layer's picks.
        let heads = if indexer.own { f64::from(indexer.heads) } else { 0.0 };
        let dim = f64::from(indexer.dim);
        let bytes = if indexer.own { dim + 4.0 } else { 0.0 };
        Index { sheet, flops: heads * dim, bytes, ratio: f64::from(indexer.pool.max(1)) }
    }

    fn us(&self, pairs: f64, tokens: f64) -> f64 {
        match self.bytes > 0.0 {
            true => {
                self.sheet.us(self.flops * pairs / self.ratio, self.bytes * tokens / self.ratio)
            }
            false => 0.0,
        }
    }
}

fn attention(shared: Shared) -> PerPass {
    Box::new(move |batch| {
        let Shared { sheet, prompt_flops, decode_flops, bytes, ratio, most, index } = &shared;
        let mut prefill = 0.0;
        for part in &batch.prefills {
            let (tokens, context) = (f64::from(part.tokens), f64::from(part.context));
            let seen = pairs(most * ratio, tokens, context) / ratio;
            let read = (context + tokens) / ratio;
            prefill += sheet.us(prompt_flops * seen, bytes * read);
            let all = pairs(f64::INFINITY, tokens, context);
            prefill += index.as_ref().map_or(0.0, |index| index.us(all, context + tokens));
        }
        let mut decode = 0.0;
        if batch.decodes > 0 {
            let requests = f64::from(batch.decodes);
            let kept = batch.decode_context_mean() / ratio;
            let seen = kept.min(*most);
            let queries = requests + f64::from(batch.drafts);
            decode = sheet.us(decode_flops * seen * queries, bytes * seen * requests);
            let context = batch.decode_context as f64;
            let pairs = context + batch.draft_context as f64;
            decode += index.as_ref().map_or(0.0, |index| index.us(pairs, context));
        }
        (Cost::transferred(prefill), Cost::transferred(decode))
    })
}

/// A recurrence: decoding reads and writes the state of each request, prompts are run in pieces
/// that keep it on the chip.
fn recurrence(state: LinearState, sheet: Sheet, gpus: f64) -> PerPass {
    let flops = state.flops_per_token() / gpus;
    let bytes = 2.0 * state.bytes() as f64 / gpus;
    // Inputs and outputs of a token: what the convolution sees, and as much again.
    let streamed = 4.0 * f64::from(state.conv_channels.max(state.heads)) / gpus;
    Box::new(move |batch| {
        let mut prefill = 0.0;
        for part in &batch.prefills {
            let tokens = f64::from(part.tokens);
            prefill += sheet.us(flops * tokens, bytes + streamed * tokens);
        }
        let mut decode = 0.0;
        if batch.decodes > 0 {
            let requests = f64::from(batch.decodes);
            let tokens = requests + f64::from(batch.drafts);
            decode = sheet.us(flops * tokens, bytes * requests + streamed * tokens);
        }
        (Cost::transferred(prefill), Cost::transferred(decode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::find_device;
    use crate::timing::PrefillPart;
    use crate::timing::full::roofline::peak;

    fn h100() -> Sheet {
        let speed = Speed::new(&peak(find_device("H100").unwrap()));
        Sheet { speed, efficiencies: Efficiencies::CALIBRATED }
    }

    /// DeepSeek-V3's attention.
    const MLA: Mixer = Mixer::Latent {
        q_heads: 128,
        latent: 512,
        rope: 64,
        nope: 128,
        value_dim: 128,
        reach: Reach::All,
        caches: 1,
        indexer: None,
    };

    fn decode(mixer: Mixer, tensor: u32, contexts: &[u32]) -> f64 {
        let parallel = Parallelism { tensor, pipeline: 1 };
        of(mixer, h100(), parallel, 2.0)(&BatchShape::of(&[], contexts)).1.us
    }

    /// FlashMLA's benchmark: 128 requests of 8192 tokens, 128 heads: 2 x 128 x 1088 FLOP and 1152
    /// bytes a pair; at 660 TFLOP/s 0.44 ms.
    #[test]
    fn latent_attention_is_near_the_published_kernel() {
        let us = decode(MLA, 1, &[8192; 128]);
        let published = 128.0 * 8192.0 * 2.0 * 128.0 * 1088.0 / 660e6;
        assert!((0.8..1.3).contains(&(us / published)), "{us} for {published} us");
        // Fewer heads on each GPU read the same vectors.
        let shared = decode(MLA, 8, &[8192; 128]);
        assert!(shared > 128.0 * 8192.0 * 1152.0 / 3.35e6, "{shared}");
        assert!(shared < us);
    }

    #[test]
    fn sparse_attention_stops_growing_but_for_its_indexer() {
        let indexer = Indexer { heads: 64, dim: 128, topk: 2048, pool: 1, own: true };
        let with = |indexer| match MLA {
            Mixer::Latent { q_heads, latent, rope, nope, value_dim, reach, caches, .. } => {
                let indexer = Some(indexer);
                Mixer::Latent { q_heads, latent, rope, nope, value_dim, reach, caches, indexer }
            }
            other => other,
        };
        let at = |own, context| decode(with(Indexer { own, ..indexer }), 1, &[context; 32]);
        assert!((at(false, 65536) - at(false, 16384)).abs() < 1e-9);
        assert!(at(true, 65536) > at(true, 16384));
        assert!(at(true, 65536) < decode(MLA, 1, &[65536; 32]));
    }

    #[test]
    fn a_recurrence_does_not_depend_on_the_context() {
        let state = LinearState {
            name: "GatedDeltaNet",
            conv_channels: 8192,
            conv_inputs: 3,
            heads: 32,
            head_elements: 128 * 128,
            element_bytes: 4,
        };
        let one = |contexts: &[u32]| decode(Mixer::Linear(state), 1, contexts);
        assert_eq!(one(&[100, 100]), one(&[100_000, 100_000]));
        assert!(one(&[100; 64]) > one(&[100; 2]));
        let prompt = BatchShape::of(&[PrefillPart { tokens: 8192, context: 0 }], &[]);
        let parallel = Parallelism { tensor: 1, pipeline: 1 };
        assert!(of(Mixer::Linear(state), h100(), parallel, 2.0)(&prompt).0.us > 0.0);
    }
}

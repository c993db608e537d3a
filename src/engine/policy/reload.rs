//! Prefixes that only host memory has: copied back, or computed again.

use crate::engine::state::kv::{BlockPool, HostTier, PrefixHash, Reload};
use crate::timing::{BatchShape, Predictor, StagePosition};

/// The only stage: pipelines have no host memory.
const STAGE: StagePosition = StagePosition { index: 0, count: 1 };

/// How many blocks a request with a prompt of `prompt` tokens copies from host memory, of those
/// with these hashes, the first `found` of which the GPU has.
pub(super) fn reloaded(
    pool: &BlockPool,
    predictor: &dyn Predictor,
    prompt: u32,
    hashes: &[PrefixHash],
    found: u32,
    block_size: u32,
) -> u32 {
    let Some(host) = pool.host() else { return 0 };
    let there = host.find(&hashes[found as usize..]);
    let first = found * block_size;
    match host.memory.reload {
        Reload::Always => there,
        Reload::WhenFaster
            if there > 0 && is_faster(host, predictor, prompt, first, there, block_size) =>
        {
            there
        }
        Reload::WhenFaster | Reload::Never => 0,
    }
}

/// Whether copying `blocks` blocks after the first `context` tokens is predicted to be faster than
/// computing them, in a batch of the request alone.
fn is_faster(
    host: &HostTier,
    predictor: &dyn Predictor,
    prompt: u32,
    context: u32,
    blocks: u32,
    block_size: u32,
) -> bool {
    let prefill = |context: u32| {
        let mut shape = BatchShape::default();
        shape.add_prefill(prompt - context, context);
        predictor.stage_time(&shape, STAGE).total
    };
    let copy = host.memory.copy_time(blocks);
    copy + prefill(context + blocks * block_size) < prefill(context)
}

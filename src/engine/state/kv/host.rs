//! Host memory behind a replica's KV pool: blocks of swapped requests and evicted prefixes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ByPrefix, PrefixHash};
use crate::base::Nanos;
use crate::records::OffloadTotals;
use crate::timing::StageTime;

/// Whether a prefix that only host memory has is copied back or computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reload {
    /// Prefixes do not go to host memory at all.
    Never,
    /// Copied back if that is predicted to be faster than computing it, of this request alone.
    WhenFaster,
    /// Always copied back.
    Always,
}

/// Host memory as the engine of each replica uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostMemory {
    /// KV blocks that it holds.
    pub blocks: u32,
    /// Bytes of a block on each GPU, which copies its part over its own link.
    pub bytes_per_block: u64,
    /// GPUs of a replica.
    pub gpus: u32,
    /// Bytes per second of a GPU's link, each way.
    pub bytes_per_second: f64,
    /// Latency of the copies of a step in one direction, beside what their bytes take.
    pub latency: Nanos,
    /// What becomes of evicted prefixes.
    pub reload: Reload,
    /// Whether requests that are preempted go there, as far as there is room.
    pub swap: bool,
}

impl HostMemory {
    /// How long copying `blocks` blocks in one direction takes: `latency + bytes / bandwidth`;
    /// nothing for none.
    pub fn copy_time(&self, blocks: u32) -> Nanos {
        match blocks {
            0 => Nanos::ZERO,
            _ => {
                let bytes = self.bytes_per_block as f64 * f64::from(blocks);
                self.latency + Nanos::from_secs_f64(bytes / self.bytes_per_second)
            }
        }
    }

    /// Bytes of `blocks` blocks on all GPUs of the replica.
    fn bytes(&self, blocks: u32) -> u64 {
        u64::from(blocks) * self.bytes_per_block * u64::from(self.gpus)
    }
}

/// Copies that go with one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    /// The batch waits for these: what it reads, and what must be gone before its blocks are
    /// written to.
    pub before: Nanos,
    /// These go on while it runs; the next batch waits for their end.
    pub beside: Nanos,
}

impl Copies {
    /// The time of a batch with these copies, and how much of it is waiting for them.
    pub fn delay(self, time: StageTime) -> (StageTime, Nanos) {
        let total = self.before + time.total.max(self.beside);
        (StageTime { total, ..time }, total.since(time.total))
    }
}

/// Blocks to be copied with the next batch.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    swapped_out: u32,
    evicted: u32,
    copied_in: u32,
}

/// What a replica has in host memory. Requests that were swapped out come first: prefixes have
/// what they leave, the least recently used dropped first.
#[derive(Debug)]
pub(crate) struct HostTier {
    pub memory: HostMemory,
    /// Blocks of swapped requests.
    swapped: u32,
    /// Blocks of evicted prefixes, with the time of their last use, and the other way round.
    cached: ByPrefix<u64>,
    by_age: BTreeMap<u64, PrefixHash>,
    clock: u64,
    due: Due,
    /// What was copied so far.
    pub totals: OffloadTotals,
}

impl HostTier {
    pub fn new(memory: HostMemory) -> HostTier {
        HostTier {
            memory,
            swapped: 0,
            cached: ByPrefix::default(),
            by_age: BTreeMap::new(),
            clock: 0,
            due: Due::default(),
            totals: OffloadTotals { blocks: memory.blocks.into(), ..OffloadTotals::default() },
        }
    }

    /// Blocks of swapped requests, and of prefixes.
    pub fn held(&self) -> (u32, u32) {
        (self.swapped, self.by_age.len() as u32)
    }

    /// How many of the blocks with these hashes are here, from the first on.
    pub fn find(&self, hashes: &[PrefixHash]) -> u32 {
        hashes.iter().take_while(|&hash| self.cached.contains_key(hash)).count() as u32
    }

    /// A block with this prefix is evicted from the GPU: its content is copied here, unless it is
    /// here already.
    pub fn store(&mut self, hash: PrefixHash) {
        if self.memory.reload == Reload::Never || !self.make_room(1, Some(hash)) {
            return;
        }
        if !self.touch(hash) {
            self.due.evicted += 1;
            self.totals.stored_blocks += 1;
            self.totals.bytes_to_host += self.memory.bytes(1);
            self.note_peak();
        }
    }

    /// The blocks with these hashes, which are here, are copied to the GPU. They stay here too.
    pub fn load(&mut self, hashes: &[PrefixHash], block_size: u32) {
        if hashes.is_empty() {
            return;
        }
        for &hash in hashes.iter().rev() {
            // The last first, so that a prefix is dropped from its end.
            self.touch(hash);
        }
        self.totals.reloads += 1;
        self.totals.reloaded_tokens += hashes.len() as u64 * u64::from(block_size);
        self.copy_in(hashes.len() as u32);
    }

    /// A request with `blocks` blocks is swapped out, if there is room for them.
    pub fn swap_out(&mut self, blocks: u32) -> bool {
        if !self.memory.swap || blocks == 0 {
            return false;
        }
        if !self.make_room(blocks, None) {
            self.totals.swap_fallbacks += 1;
            return false;
        }
        self.swapped += blocks;
        self.due.swapped_out += blocks;
        self.totals.swap_outs += 1;
        self.totals.bytes_to_host += self.memory.bytes(blocks);
        self.note_peak();
        true
    }

    /// A swapped request comes back; the GPU still has all but `copied` of its `blocks` blocks.
    pub fn swap_in(&mut self, blocks: u32, copied: u32) {
        self.swapped -= blocks;
        self.totals.swap_ins += 1;
        self.copy_in(copied);
    }

    /// The copies that go with the batch that begins now.
    pub fn take_copies(&mut self) -> Copies {
        let due = std::mem::take(&mut self.due);
        let time = |blocks| self.memory.copy_time(blocks);
        Copies { before: time(due.swapped_out) + time(due.copied_in), beside: time(due.evicted) }
    }

    fn copy_in(&mut self, blocks: u32) {
        self.due.copied_in += blocks;
        self.totals.bytes_from_host += self.memory.bytes(blocks);
    }

    /// Drops prefixes until `blocks` more blocks fit; for a `known` prefix none if it is here.
    fn make_room(&mut self, blocks: u32, known: Option<PrefixHash>) -> bool {
        if known.is_some_and(|hash| self.cached.contains_key(&hash)) {
            return true;
        }
        let most = u64::from(self.memory.blocks);
        let wanted = u64::from(self.swapped) + u64::from(blocks);
        if wanted > most {
            return false;
        }
        while wanted + self.by_age.len() as u64 > most
            && let Some((_, hash)) = self.by_age.pop_first()
        {
            self.cached.remove(&hash);
            self.totals.dropped_blocks += 1;
        }
        true
    }

    /// Makes a prefix the most recently used one. Whether it was here before.
    fn touch(&mut self, hash: PrefixHash) -> bool {
        self.clock += 1;
        let before = self.cached.insert(hash, self.clock);
        if let Some(before) = before {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.clock, hash);
        before.is_some()
    }

    fn note_peak(&mut self) {
        let held = u64::from(self.swapped) + self.by_age.len() as u64;
        self.totals.peak_blocks = self.totals.peak_blocks.max(held);
    }

    /// Whether what is counted of prefixes adds up.
    pub fn audit(&self) -> Result<(), String> {
        let (swapped, cached) = self.held();
        let kept = self.totals.stored_blocks - self.totals.dropped_blocks;
        if u64::from(cached) != kept || self.cached.len() != self.by_age.len() {
            return Err(format!("{cached} prefix blocks in host memory, counted {kept}"));
        }
        match swapped + cached <= self.memory.blocks {
            true => Ok(()),
            false => Err(format!("{swapped} + {cached} blocks exceed host memory")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(value: u64) -> PrefixHash {
        PrefixHash(value.try_into().unwrap())
    }

    fn tier(blocks: u32) -> HostTier {
        HostTier::new(HostMemory {
            blocks,
            bytes_per_block: 1_000_000,
            gpus: 2,
            bytes_per_second: 1e9,
            latency: Nanos(5_000),
            reload: Reload::Always,
            swap: true,
        })
    }

    #[test]
    fn the_least_recently_used_prefix_is_dropped_and_swapped_requests_come_first() {
        let mut host = tier(4);
        for value in 1..=4 {
            host.store(hash(value));
        }
        host.load(&[hash(1)], 16);
        host.store(hash(5));
        assert_eq!(host.find(&[hash(1), hash(3), hash(2)]), 2, "2 was dropped, 1 was used since");
        // Here already: nothing is copied.
        host.store(hash(3));
        assert_eq!(host.totals.stored_blocks, 5);
        assert!(host.swap_out(3));
        assert_eq!(host.held(), (3, 1));
        assert_eq!(host.find(&[hash(3)]), 1, "the last one used");
        assert!(!host.swap_out(2), "only a block is left");
        assert_eq!((host.totals.swap_outs, host.totals.swap_fallbacks), (1, 1));
        host.store(hash(6));
        assert_eq!(host.find(&[hash(6)]), 1);
        host.swap_in(3, 2);
        assert_eq!(host.held(), (0, 1));
        host.audit().unwrap();
        assert_eq!(host.totals.bytes_to_host, 2_000_000 * (6 + 3));
        assert_eq!(host.totals.bytes_from_host, 2_000_000 * (1 + 2));
        assert_eq!(host.totals.peak_blocks, 4);
    }

    #[test]
    fn copies_in_and_swaps_delay_a_batch_and_evictions_go_on_beside_it() {
        let mut host = tier(100);
        for value in 1..=4 {
            host.store(hash(value));
        }
        assert!(host.swap_out(3));
        host.load(&[hash(1), hash(2)], 16);
        let copies = host.take_copies();
        // A block is 1 ms.
        let before = Nanos(3_005_000 + 2_005_000);
        assert_eq!(copies, Copies { before, beside: Nanos(4_005_000) });
        let time = |total| StageTime { total: Nanos(total), ..StageTime::default() };
        let (long, waiting) = copies.delay(time(9_000_000));
        assert_eq!((long.total, waiting), (before + Nanos(9_000_000), before));
        let (short, waiting) = copies.delay(time(1_000_000));
        assert_eq!(short.total, before + Nanos(4_005_000));
        assert_eq!(waiting, before + Nanos(3_005_000));
        assert_eq!(host.take_copies(), Copies::default(), "they are on their way");
    }
}

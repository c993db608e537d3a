//! What a router remembers of which replica saw which prefix.

use crate::engine::state::kv::{ByPrefix, PrefixHash};

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The prefixes that were sent to each replica, in blocks. It is an image of the replicas' caches
/// and no more: a replica may have evicted what the index still knows. Each replica has at most
/// `max_blocks` entries; the least recently used one makes room.
#[derive(Clone, Debug)]
pub(super) struct PrefixIndex {
    /// Entries by prefix, one for each replica that saw it.
    entries: ByPrefix<Vec<u32>>,
    slab: Vec<Entry>,
    replicas: Vec<Recency>,
    max_blocks: u32,
}

/// A prefix at a replica, in that replica's list of recency.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: PrefixHash,
    replica: u32,
    previous: u32,
    next: u32,
}

/// The entries of a replica, the least recently used first.
#[derive(Clone, Copy, Debug)]
struct Recency {
    first: u32,
    last: u32,
    blocks: u32,
}

impl PrefixIndex {
    pub fn new(replicas: u32, max_blocks: u32) -> PrefixIndex {
        let empty = Recency { first: NONE, last: NONE, blocks: 0 };
        PrefixIndex {
            entries: ByPrefix::default(),
            slab: Vec::new(),
            replicas: vec![empty; replicas as usize],
            max_blocks,
        }
    }

    /// How many blocks of this prompt some replica saw, from its first on, and the replicas that
    /// saw that many. Costs O(blocks found + replicas that saw the last of them).
    pub fn longest(&self, prompt: &[PrefixHash]) -> (u32, impl Iterator<Item = u32> + '_) {
        let mut found = 0;
        let mut holders: &[u32] = &[];
        for entries in prompt.iter().map_while(|hash| self.entries.get(hash)) {
            found += 1;
            holders = entries;
        }
        (found, holders.iter().map(|&entry| self.slab[entry as usize].replica))
    }

    /// Blocks that are known of `replica`.
    pub fn blocks(&self, replica: u32) -> u32 {
        self.replicas[replica as usize].blocks
    }

    /// This prompt was sent to `replica`. Its first block counts as the most recent one, so that a
    /// prefix is forgotten from its end.
    pub fn insert(&mut self, prompt: &[PrefixHash], replica: u32) {
        let kept = &prompt[..prompt.len().min(self.max_blocks as usize)];
        for &hash in kept.iter().rev() {
            let holders = self.entries.get(&hash).map_or(&[][..], Vec::as_slice);
            let known = holders.iter().find(|&&e| self.slab[e as usize].replica == replica);
            let entry = match known {
                Some(&entry) => {
                    self.unlink(entry);
                    entry
                }
                None => self.add(hash, replica),
            };
            self.link(entry);
        }
    }

    /// A new entry, in the place of the replica's least recent one if it has as many as it may.
    fn add(&mut self, hash: PrefixHash, replica: u32) -> u32 {
        let fresh = Entry { hash, replica, previous: NONE, next: NONE };
        let Recency { first, blocks, .. } = self.replicas[replica as usize];
        let entry = if blocks < self.max_blocks {
            self.slab.push(fresh);
            self.slab.len() as u32 - 1
        } else {
            self.unlink(first);
            let old = std::mem::replace(&mut self.slab[first as usize], fresh).hash;
            if let Some(holders) = self.entries.get_mut(&old) {
                holders.retain(|&holder| holder != first);
                if holders.is_empty() {
                    self.entries.remove(&old);
                }
            }
            first
        };
        self.entries.entry(hash).or_default().push(entry);
        entry
    }

    fn link(&mut self, entry: u32) {
        let replica = self.slab[entry as usize].replica as usize;
        let recency = &mut self.replicas[replica];
        recency.blocks += 1;
        let last = std::mem::replace(&mut recency.last, entry);
        if last == NONE {
            recency.first = entry;
        } else {
            self.slab[last as usize].next = entry;
        }
        let entry = &mut self.slab[entry as usize];
        (entry.previous, entry.next) = (last, NONE);
    }

    fn unlink(&mut self, entry: u32) {
        let Entry { replica, previous, next, .. } = self.slab[entry as usize];
        let recency = &mut self.replicas[replica as usize];
        recency.blocks -= 1;
        match previous {
            NONE => recency.first = next,
            previous => self.slab[previous as usize].next = next,
        }
        match next {
            NONE => recency.last = previous,
            next => self.slab[next as usize].previous = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(hashes: &[u64]) -> Vec<PrefixHash> {
        hashes.iter().map(|&hash| PrefixHash(hash.try_into().unwrap())).collect()
    }

    fn longest(index: &PrefixIndex, hashes: &[u64]) -> (u32, Vec<u32>) {
        let prompt = prompt(hashes);
        let (found, replicas) = index.longest(&prompt);
        (found, replicas.collect())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut index = PrefixIndex::new(3, 100);
        assert_eq!(longest(&index, &[1, 2]), (0, vec![]));
        index.insert(&prompt(&[1, 2]), 2);
        index.insert(&prompt(&[1, 2, 3]), 0);
        index.insert(&prompt(&[1, 9]), 1);
        assert_eq!(longest(&index, &[1, 2, 3, 4]), (3, vec![0]));
        assert_eq!(longest(&index, &[1, 2, 8]), (2, vec![2, 0]));
        assert_eq!(longest(&index, &[1, 7]), (1, vec![2, 0, 1]));
        assert_eq!(longest(&index, &[7, 1]), (0, vec![]));
        assert_eq!([0, 1, 2].map(|replica| index.blocks(replica)), [3, 2, 2]);
    }

    #[test]
    fn a_full_index_forgets_the_least_recent_prefix_from_its_end() {
        let mut index = PrefixIndex::new(2, 4);
        index.insert(&prompt(&[1, 2]), 0);
        index.insert(&prompt(&[5, 6]), 0);
        index.insert(&prompt(&[1, 2]), 1);
        // Known already: only its recency changes.
        index.insert(&prompt(&[1, 2]), 0);
        index.insert(&prompt(&[8]), 0);
        assert_eq!(longest(&index, &[5, 6]), (1, vec![0]));
        index.insert(&prompt(&[9]), 0);
        assert_eq!(longest(&index, &[5, 6]), (0, vec![]));
        index.insert(&prompt(&[10]), 0);
        assert_eq!(longest(&index, &[1, 2]), (2, vec![1]), "replica 0 forgot the second block");
        assert_eq!((index.blocks(0), index.blocks(1)), (4, 2));
        // A prompt longer than the index is known by its beginning.
        index.insert(&prompt(&[21, 22, 23, 24, 25, 26]), 1);
        assert_eq!(longest(&index, &[21, 22, 23, 24, 25]), (4, vec![1]));
        assert_eq!(index.blocks(1), 4);
    }
}

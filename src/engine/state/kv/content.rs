//! The hashes of a request's blocks, from the identities of its tokens.

use std::num::NonZeroU64;

use bevy_ecs::prelude::*;

use super::PrefixHash;
use crate::workload::Content;

/// Salt of the spans that have an identity (`named`).
const NAMED: u64 = 0x006e_616d_6564;

/// The hashes of a request's full blocks, those of the answer included.
#[derive(Component, Clone, Debug, Default)]
pub struct PrefixHashes(pub Box<[PrefixHash]>);

impl PrefixHashes {
    /// The hashes of the blocks that a request may find in a cache: full blocks of its prompt,
    /// without the last token, which must be processed to get the next one.
    pub(crate) fn of_prompt(&self, prompt_tokens: u32, block_size: u32) -> &[PrefixHash] {
        let most = ((prompt_tokens - 1) / block_size) as usize;
        &self.0[..most.min(self.0.len())]
    }
}

impl PrefixHash {
    /// The hash of the block of a KV cache group: several groups cache the same tokens.
    pub(crate) fn of_group(self, group: usize) -> PrefixHash {
        let hash = mix(self.0.get(), group as u64);
        PrefixHash(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }
}

impl Content {
    /// The hashes of all full blocks of a request: each over the block's tokens and the hash
    /// before it. `request` makes what is like nothing else unique.
    pub fn hashes(
        &self,
        request: u64,
        prompt_tokens: u32,
        output_tokens: u32,
        block_size: u32,
    ) -> PrefixHashes {
        // Unique spans are told apart from named ones by a different salt.
        let unique = |part: u64| mix(mix(0x756e_6971_7565, request), part);
        let mut spans: Vec<(u64, u32)> = Vec::with_capacity(self.prompt.len() + 2);
        let mut left = prompt_tokens;
        for span in &self.prompt {
            let tokens = span.tokens.min(left);
            spans.push((mix(NAMED, span.id), tokens));
            left -= tokens;
        }
        spans.push((unique(0), left));
        let answer = self.answer.map_or_else(|| unique(1), |id| mix(NAMED, id));
        spans.push((answer, output_tokens));

        let mut hashes =
            Vec::with_capacity(((prompt_tokens + output_tokens) / block_size) as usize);
        let (mut chain, mut room) = (0, block_size);
        for (id, tokens) in spans {
            let mut offset = 0;
            while offset < tokens {
                let taken = room.min(tokens - offset);
                chain = mix(mix(chain, id), u64::from(offset) << 32 | u64::from(taken));
                offset += taken;
                room -= taken;
                if room == 0 {
                    room = block_size;
                    hashes.push(PrefixHash(NonZeroU64::new(chain).unwrap_or(NonZeroU64::MIN)));
                }
            }
        }
        PrefixHashes(hashes.into())
    }
}

/// Mixes a value into a hash (the finaliser of SplitMix64 over their combination).
fn mix(hash: u64, value: u64) -> u64 {
    let mut z = hash.rotate_left(23) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::TokenSpan;

    fn common(a: &PrefixHashes, b: &PrefixHashes) -> usize {
        a.0.iter().zip(&b.0).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn equal_prefixes_have_equal_hashes_up_to_the_first_difference() {
        let shared = Content { prompt: [TokenSpan { id: 7, tokens: 40 }].into(), answer: None };
        let a = shared.hashes(1, 100, 60, 16);
        let b = shared.hashes(2, 90, 70, 16);
        assert_eq!((a.0.len(), b.0.len()), (10, 10));
        assert_eq!(common(&a, &b), 2, "32 of the 40 shared tokens are full blocks");
        assert_eq!(common(&a, &shared.hashes(1, 100, 60, 16)), 10);
        assert_eq!(common(&a, &Content::default().hashes(1, 100, 60, 16)), 0);
    }

    #[test]
    fn an_answer_keeps_its_identity_in_the_next_prompt() {
        let first = Content { prompt: [TokenSpan { id: 1, tokens: 20 }].into(), answer: Some(2) };
        let spans = [TokenSpan { id: 1, tokens: 20 }, TokenSpan { id: 2, tokens: 30 }];
        let next = Content { prompt: spans.into(), answer: Some(3) };
        let (a, b) = (first.hashes(1, 20, 30, 16), next.hashes(2, 70, 10, 16));
        assert_eq!(common(&a, &b), 3, "48 of 50 tokens");
    }
}

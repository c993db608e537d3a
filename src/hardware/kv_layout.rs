//! How vLLM divides the KV cache among the layers of a model: groups of layers that share one pool
//! of blocks, each group with blocks of its own.
//!
//! Rules of vLLM's planner (`kv_cache_utils`, 0.33), from running it: layers are put together by
//! what they keep; a group has as many layers as the smallest kind, or as the largest if that is
//! less than 1.5 times as large; each kind is split into groups of that size. A block of the pool
//! holds a page of every layer of a group, and all pages are of one size: where a layer keeps less
//! of a token, its blocks hold more tokens, and a state is padded to a page.

use crate::hardware::Parallelism;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::layers::{Layer, Mixer, Reach};

/// Tokens of a block are multiples of this where states share the pool: what attention kernels work
/// on.
const KERNEL_BLOCK: u64 = 16;
/// The same for latent attention.
const LATENT_KERNEL_BLOCK: u64 = 128;

/// What a group of layers keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvKind {
    /// Keys and values of every token.
    Full,
    /// Those of the last tokens.
    SlidingWindow,
    /// Those of the present chunk.
    ChunkedLocal,
    /// Latent vectors of every token.
    Latent,
    /// Compressed tokens.
    Compressed,
    /// A state of fixed size.
    Mamba,
}

impl KvKind {
    /// In results: `full`.
    pub fn name(self) -> &'static str {
        match self {
            KvKind::Full => "full",
            KvKind::SlidingWindow => "sliding_window",
            KvKind::ChunkedLocal => "chunked_local",
            KvKind::Latent => "mla",
            KvKind::Compressed => "compressed",
            KvKind::Mamba => "mamba",
        }
    }
}

/// Layers that take blocks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvGroup {
    /// What they keep.
    pub kind: KvKind,
    /// How many layers.
    pub layers: u32,
    /// Tokens of a block.
    pub block_size: u32,
    /// Bytes of a layer's part of a block, on each GPU.
    pub page_bytes: u64,
    /// Tokens of the window or chunk.
    pub window: Option<u32>,
}

/// The groups of a model on the GPU with the most layers' worth of cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvLayout {
    /// Those that keep every token first.
    pub groups: Vec<KvGroup>,
    /// Bytes of one block of the pool on each GPU.
    pub bytes_per_block: u64,
}

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    kind: KvKind,
    window: Option<u32>,
    /// Bytes of a token, or of a sequence for a state, on each GPU.
    bytes: u64,
}

impl KvLayout {
    /// The layout of `model` over `parallel` GPUs, with blocks of `block_size` tokens where nothing
    /// else decides. Drafts are not counted.
    pub fn of(model: &ModelSpec, parallel: Parallelism, block_size: u32) -> KvLayout {
        let per_stage = (model.layers_per_stage(parallel) as usize).max(1);
        let runs = model.layer_runs();
        let each: Vec<Vec<Kept>> = runs
            .iter()
            .flat_map(|run| {
                std::iter::repeat_n(kept(&run.layer, model, parallel), run.count as usize)
            })
            .collect();
        let stages = each.chunks(per_stage).map(|stage| layout(&stage.concat(), block_size));
        // The stage that holds the fewest tokens decides for all.
        stages
            .max_by_key(|layout| layout.bytes_per_block)
            .unwrap_or(KvLayout { groups: Vec::new(), bytes_per_block: 0 })
    }

    /// Whether every layer keeps every token: one group.
    pub fn is_plain(&self) -> bool {
        self.groups.iter().all(|group| group.window.is_none() && group.kind != KvKind::Mamba)
    }

    /// Bytes of a token on each GPU, if every sequence takes blocks of every group from its first
    /// token to its last: what vLLM takes for the size of its cache in tokens. States alone are
    /// spread over `longest` tokens.
    pub fn bytes_per_token(&self, longest: u32) -> u64 {
        let tokens = match self.groups.iter().any(|group| group.kind != KvKind::Mamba) {
            true => self.block_size().unwrap_or(1),
            false => longest,
        };
        let all = self.bytes_per_block.saturating_mul(self.groups.len() as u64);
        all.div_ceil(u64::from(tokens.max(1)))
    }

    /// Tokens of the smallest block.
    pub fn block_size(&self) -> Option<u32> {
        self.groups.iter().map(|group| group.block_size).min()
    }

    /// Blocks of the pool that one sequence of `tokens` takes at most, with `in_flight` tokens
    /// computed at once.
    pub fn blocks_of_sequence(&self, tokens: u32, in_flight: u32) -> u32 {
        let blocks = |group: &KvGroup, tokens: u32| tokens.div_ceil(group.block_size.max(1));
        let of = |group: &KvGroup| match (group.kind, group.window) {
            (KvKind::Mamba, _) => 1,
            (KvKind::SlidingWindow, Some(window)) => {
                let seen = (window - 1).saturating_add(in_flight).min(tokens);
                (blocks(group, seen) + 1).min(blocks(group, tokens))
            }
            (KvKind::ChunkedLocal, Some(chunk)) => {
                blocks(group, chunk.saturating_add(in_flight).min(tokens))
            }
            _ => blocks(group, tokens),
        };
        self.groups.iter().map(of).fold(0, u32::saturating_add)
    }
}

/// What a layer's mixers keep.
fn kept(layer: &Layer, model: &ModelSpec, parallel: Parallelism) -> Vec<Kept> {
    let of = |mixer: &Mixer| {
        let elements = mixer.kv_elements_per_gpu(parallel) as f64 * model.kv_cache.bytes();
        let bytes = elements.ceil() as u64 + mixer.indexer_bytes();
        let (kind, window) = match (mixer, mixer.reach()) {
            (Mixer::Linear(state), _) => {
                let bytes = state.bytes_per_gpu(parallel);
                return Some(Kept { kind: KvKind::Mamba, window: None, bytes });
            }
            (_, Some(Reach::Window(window))) => (KvKind::SlidingWindow, Some(window)),
            (_, Some(Reach::Chunk(chunk))) => (KvKind::ChunkedLocal, Some(chunk)),
            (Mixer::Latent { .. }, _) => (KvKind::Latent, None),
            (Mixer::Compressed { .. }, _) => (KvKind::Compressed, None),
            _ => (KvKind::Full, None),
        };
        (bytes > 0).then_some(Kept { kind, window, bytes })
    };
    layer.mixers.iter().filter_map(of).collect()
}

/// The groups of one pipeline stage.
fn layout(kept: &[Kept], block_size: u32) -> KvLayout {
    let block_size = u64::from(block_size.max(1));
    // Where all layers keep every token, whatever they keep of it, they are one group.
    let everything = |one: &Kept| one.window.is_none() && one.kind != KvKind::Mamba;
    if kept.iter().all(everything) {
        let bytes: u64 = kept.iter().map(|one| one.bytes).sum();
        let bytes_per_block = bytes.saturating_mul(block_size);
        let group = kept.first().map(|first| KvGroup {
            kind: first.kind,
            layers: fit(kept.len() as u64),
            block_size: fit(block_size),
            page_bytes: bytes_per_block / (kept.len() as u64).max(1),
            window: None,
        });
        return KvLayout { groups: group.into_iter().collect(), bytes_per_block };
    }
    let mut kinds: Vec<(Kept, u64)> = Vec::new();
    for one in kept {
        match kinds.iter_mut().find(|(known, _)| known == one) {
            Some((_, count)) => *count += 1,
            None => kinds.push((*one, 1)),
        }
    }
    kinds.sort_by_key(|(kind, _)| (kind.kind == KvKind::Mamba, kind.window.is_some()));
    let counts = || kinds.iter().map(|(_, count)| *count);
    let (least, most) = (counts().min().unwrap_or(1), counts().max().unwrap_or(1));
    let size = if 2 * most < 3 * least { most } else { least };
    let token_bytes =
        || kinds.iter().filter(|(k, _)| k.kind != KvKind::Mamba).map(|(k, _)| k.bytes);
    let state = kinds.iter().filter(|(k, _)| k.kind == KvKind::Mamba).map(|(k, _)| k.bytes).max();
    // States decide how many tokens a block of attention has.
    let attended = token_bytes().max();
    let block = match (state, attended) {
        (Some(state), Some(bytes)) => {
            let latent = kinds.iter().any(|(kind, _)| kind.kind == KvKind::Latent);
            let kernel = if latent { LATENT_KERNEL_BLOCK } else { KERNEL_BLOCK };
            let unit = kernel.max(block_size);
            unit.saturating_mul(state.div_ceil(unit.saturating_mul(bytes)).max(1))
        }
        _ => block_size,
    };
    let page = match (attended, state) {
        (Some(bytes), _) => block.saturating_mul(bytes),
        (None, state) => state.unwrap_or(0),
    };
    let mut groups = Vec::new();
    for (kind, count) in &kinds {
        let tokens = match kind.kind {
            // A state stands for as many tokens as a block of attention has.
            KvKind::Mamba => block,
            // What keeps less of a token has more tokens in a page, if that comes out even.
            _ if page.is_multiple_of(kind.bytes * block) => page / kind.bytes,
            _ => block,
        };
        let mut left = *count;
        while left > 0 {
            let layers = left.min(count.div_ceil(count.div_ceil(size)));
            groups.push(KvGroup {
                kind: kind.kind,
                layers: fit(layers),
                block_size: fit(tokens),
                page_bytes: page,
                window: kind.window,
            });
            left -= layers;
        }
    }
    KvLayout { groups, bytes_per_block: page.saturating_mul(size) }
}

fn fit(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::find;

    const FULL: Kept = Kept { kind: KvKind::Full, window: None, bytes: 4096 };
    const WINDOW: Kept = Kept { kind: KvKind::SlidingWindow, window: Some(128), bytes: 4096 };
    const STATE: Kept = Kept { kind: KvKind::Mamba, window: None, bytes: 1_100_000 };

    /// The groups' kinds and layers, and the size that is paid.
    fn groups(kept: &[(Kept, usize)]) -> (Vec<(KvKind, u32)>, u64) {
        let all: Vec<Kept> =
            kept.iter().flat_map(|(one, count)| std::iter::repeat_n(*one, *count)).collect();
        let layout = layout(&all, 16);
        let groups = layout.groups.iter().map(|group| (group.kind, group.layers)).collect();
        (groups, layout.bytes_per_block / layout.groups[0].page_bytes.max(1))
    }

    /// Examples of the planner of vLLM 0.33.
    #[test]
    fn layers_are_grouped_as_vllm_does() {
        let (full, window) = (KvKind::Full, KvKind::SlidingWindow);
        // gpt-oss-20b, Gemma-2-9b.
        assert_eq!(groups(&[(WINDOW, 12), (FULL, 12)]), (vec![(full, 12), (window, 12)], 12));
        // Gemma-3-27b: 6 groups of 8 or 9, and 10 are paid.
        let (found, paid) = groups(&[(WINDOW, 52), (FULL, 10)]);
        assert_eq!((found.len(), paid, found[0]), (7, 10, (full, 10)));
        assert!(found[1..].iter().all(|(_, layers)| (7..=9).contains(layers)), "{found:?}");
        // gpt-oss-20b with a full draft layer.
        assert_eq!(groups(&[(WINDOW, 12), (FULL, 13)]), (vec![(full, 13), (window, 12)], 13));
        // Llama-4-Scout and Qwen3-Next: three groups beside the full one.
        let mamba = (KvKind::Mamba, 12);
        let expected = (vec![(full, 12), mamba, mamba, mamba], 12);
        assert_eq!(groups(&[(STATE, 36), (FULL, 12)]), expected);
    }

    #[test]
    fn a_state_decides_the_block() {
        let layout = layout(&[FULL, STATE, STATE, STATE], 16);
        // 1,100,000 bytes are 16.8 blocks of 16 tokens of 4096 bytes: 17 of them.
        assert_eq!(layout.groups[0].block_size, 272);
        assert_eq!(layout.groups[0].page_bytes, 272 * 4096);
        assert!(layout.groups.iter().all(|group| group.page_bytes == 272 * 4096));
        assert_eq!(layout.blocks_of_sequence(1000, 2048), 4 + 3);
    }

    #[test]
    fn a_narrower_layer_has_longer_blocks() {
        let narrow = Kept { bytes: 2048, ..FULL };
        let layout = layout(&[narrow, WINDOW], 16);
        let sizes: Vec<u32> = layout.groups.iter().map(|group| group.block_size).collect();
        assert_eq!(sizes, [32, 16]);
    }

    #[test]
    fn layers_that_are_alike_are_one_group() {
        let model = find("Llama-2-70B").unwrap();
        for tensor in [1, 8, 16] {
            for pipeline in [1, 2] {
                let parallel = Parallelism { tensor, pipeline };
                let layout = KvLayout::of(model, parallel, 16);
                let per_block = 16 * model.kv_bytes_per_token(parallel);
                assert_eq!((layout.bytes_per_block, layout.is_plain()), (per_block, true));
                assert_eq!(layout.blocks_of_sequence(1000, 8192), 63);
            }
        }
    }
}

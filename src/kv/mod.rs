//! Paged KV cache: block entities, each replica's pool of them, block tables of requests.

mod block;
mod pool;

pub use block::{BlockId, BlockTable, KvBlock};
pub(crate) use block::{BlockStore, StagedBlocks, spawn_staged_blocks};
pub use pool::BlockPool;

//! Paged KV cache: block entities, each replica's pool of them, block tables of requests, and the
//! prefixes that blocks hold.

mod block;
mod content;
mod host;
mod pool;

pub use block::{BlockId, BlockTable, CachedBlock, KvBlock, PrefixHash};
pub(crate) use block::{BlockQuery, BlockStore, StagedBlocks};
pub use content::PrefixHashes;
pub(crate) use host::{Copies, HostTier};
pub use host::{HostMemory, Reload};
pub use pool::BlockPool;
pub(crate) use pool::{ByPrefix, Moved};

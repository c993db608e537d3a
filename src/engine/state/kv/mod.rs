//! Paged KV cache: block entities, each replica's pool of them, block tables of requests, and the
//! prefixes that blocks hold.

mod block;
mod by_prefix;
mod content;
mod grouped;
mod groups;
mod host;
mod pool;

#[doc(hidden)]
pub use block::{BlockId, PrefixHash};
pub(crate) use block::{BlockQuery, BlockStore, StagedBlocks, mark_holders};
pub use block::{BlockTable, CachedBlock, KvBlock};
pub(crate) use by_prefix::{ByPrefix, PrefixIndex};
pub(crate) use content::PrefixHashes;
pub(crate) use grouped::{Grouped, Hit};
#[doc(hidden)]
pub use groups::{GroupRules, KvCacheGroup, MambaMode};
pub use host::HostMemory;
pub use host::Reload;
pub(crate) use host::{Copies, HostTier};
pub(crate) use pool::{BlockPool, CachingRules, Moved};

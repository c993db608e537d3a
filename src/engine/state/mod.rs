//! The components of the world and the data in them: requests, batches, replicas, KV blocks.

mod async_planning;
pub mod batch;
mod gpu;
pub mod kv;
mod link;
mod replica;
pub mod request;
mod swapped;
mod techniques;
pub(crate) mod transfers;

pub(crate) use async_planning::AsyncPlanning;
pub(crate) use gpu::SharedGpus;
pub(crate) use link::{Link, Load};
pub(crate) use replica::{BatchOf, BlockGroup, StageQueue};
#[doc(hidden)]
pub use replica::{Batches, StageOf, Stages};
pub use replica::{Replica, Stage};
pub(crate) use swapped::{Swapped, SwappedRequests};
pub(crate) use techniques::{ReplicaParts, Replicas, Techniques};

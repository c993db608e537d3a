//! The components of the world and the data in them: requests, batches, replicas, KV blocks.

pub mod batch;
mod gpu;
pub mod kv;
mod replica;
pub mod request;

pub use gpu::SharedGpus;
pub(crate) use replica::{BatchOf, BlockGroup, StageQueue};
pub use replica::{Batches, Replica, Stage, StageOf, Stages};

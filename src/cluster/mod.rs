//! Devices, parallelism, the memory plan; replica and stage entities.

mod replica;

pub(crate) use replica::{BatchOf, Batches, BlockGroup, StageQueue};
pub use replica::{Replica, Stage, StageOf, Stages};

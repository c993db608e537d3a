//! GPUs, how a model is spread over them, and what fits into their memory.

mod device;
mod gpu;
pub mod memory;
mod parallelism;
mod replica;

pub use device::{DeviceSpec, closest_device, device_names, find_device};
pub use gpu::SharedGpus;
pub use parallelism::Parallelism;
pub(crate) use replica::{BatchOf, BlockGroup, StageQueue};
pub use replica::{Batches, Replica, Stage, StageOf, Stages};

//! Model shapes, GPUs, how a model is spread over them, and what fits into their memory.

mod device;
pub mod memory;
pub mod model;
mod parallelism;

pub use device::{DeviceSpec, closest_device, device_names, find_device};
pub use parallelism::Parallelism;

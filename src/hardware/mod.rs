//! Model shapes, GPUs, how a model is spread over them, and what fits into their memory.

mod device;
#[doc(hidden)]
pub mod kv_layout;
#[doc(hidden)]
pub mod memory;
pub mod model;
mod parallelism;

#[cfg(feature = "cli")]
pub(crate) use device::closest_device;
pub use device::{DeviceSpec, device_names, find_device};
pub use parallelism::Parallelism;

//! Devices, parallelism and the memory plan.

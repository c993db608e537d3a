//! Units of memory.

/// Bytes of a GiB.
pub(crate) const GIB: f64 = (1_u64 << 30) as f64;

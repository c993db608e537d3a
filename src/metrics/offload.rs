//! Metrics of what went to host memory and back.

use super::summary::Metrics;
use crate::records::OffloadTotals;

/// Puts the metrics of host memory into `out`.
pub(super) fn put(totals: &OffloadTotals, out: &mut Metrics) {
    for (name, value) in [
        ("host_kv_blocks", totals.blocks as f64),
        ("host_kv_peak", totals.peak_blocks as f64 / totals.blocks as f64),
        ("reloaded_tokens", totals.reloaded_tokens as f64),
        ("swap_outs", totals.swap_outs as f64),
        ("swap_ins", totals.swap_ins as f64),
        ("swap_fallbacks", totals.swap_fallbacks as f64),
        ("bytes_to_host", totals.bytes_to_host as f64),
        ("bytes_from_host", totals.bytes_from_host as f64),
        ("host_copy_wait", totals.waiting.as_secs_f64()),
    ] {
        out.set(name, value);
    }
}

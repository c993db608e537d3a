//! The report's lines on host memory for KV blocks.

use super::line::{Line, packed};
use crate::base::GIB;
use crate::metrics::VariantResult;
use crate::metrics::unit::{Unit, fixed, number, percent};

/// What went to host memory and back, where it is used.
pub fn lines(v: &VariantResult) -> Vec<Line> {
    let Some(blocks) = v.mean("host_kv_blocks") else { return Vec::new() };
    let value = |metric: &str| v.mean(metric).unwrap_or(0.0);
    let peak = percent(value("host_kv_peak"));
    let mut items = vec![format!("{} KV blocks in host memory, peak {peak} %", fixed(blocks, 0))];
    if value("host_hit_rate") > 0.0 {
        items.push(format!("hits {} %", percent(value("host_hit_rate"))));
    }
    if value("swap_outs") > 0.0 {
        let (out, back) = (number(value("swap_outs"), 3), number(value("swap_ins"), 3));
        items.push(format!("swapped {out} out, {back} in"));
    }
    if value("swap_fallbacks") > 0.0 {
        items.push(format!("{} not swapped for lack of room", number(value("swap_fallbacks"), 3)));
    }
    let gib = |metric: &str| number(value(metric) / GIB, 3);
    items.push(format!("{} GiB out, {} GiB in", gib("bytes_to_host"), gib("bytes_from_host")));
    items.push(format!("waited {}", Unit::Seconds.show(value("host_copy_wait"))));
    vec![packed("host", &items, " | ")]
}

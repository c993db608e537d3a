//! Attention kernels: measured within the grid, by work beyond it.

use super::curve::beyond;
use super::grid::Grid;
use crate::profile::format::Surface;

/// Attention of decoding requests, by their number and the tokens in the KV cache of each.
#[derive(Clone, Debug)]
pub(super) struct DecodeAttention(Grid);

impl DecodeAttention {
    pub(super) fn new(surface: &Surface) -> DecodeAttention {
        DecodeAttention(Grid::new(surface))
    }

    /// Microseconds, and whether that lies beyond the measurements.
    pub(super) fn us(&self, requests: f64, context: f64) -> (f64, bool) {
        let (most, _) = self.0.limits();
        if requests <= most {
            return inside(&self.0, requests, context);
        }
        // The kernel reads the cache of each request: linear in bytes.
        let (half, last) = (self.row(most / 2.0, context), self.row(most, context));
        (beyond((most / 2.0, half), (most, last), requests), true)
    }

    /// The time of a number of requests that was measured, at any context.
    fn row(&self, requests: f64, context: f64) -> f64 {
        along_context(&self.0, requests, context)
    }

    /// Most requests, longest context.
    pub(super) fn limits(&self) -> (f64, f64) {
        self.0.limits()
    }
}

/// Attention of one chunk of a prompt, by its tokens and those in the KV cache before it.
#[derive(Clone, Debug)]
pub(super) struct PrefillAttention(Grid);

impl PrefillAttention {
    pub(super) fn new(surface: &Surface) -> PrefillAttention {
        PrefillAttention(Grid::new(surface))
    }

    /// Microseconds, and whether that lies beyond the measurements.
    pub(super) fn us(&self, chunk: f64, context: f64) -> (f64, bool) {
        let (longest, _) = self.0.limits();
        if chunk <= longest {
            return inside(&self.0, chunk, context);
        }
        // Each token attends to the context and, on average, to half of the chunk.
        let work = |chunk: f64| chunk * (context + chunk / 2.0);
        let point = |chunk: f64| (work(chunk), along_context(&self.0, chunk, context));
        (beyond(point(longest / 2.0), point(longest), work(chunk)), true)
    }

    /// Longest chunk, longest context.
    pub(super) fn limits(&self) -> (f64, f64) {
        self.0.limits()
    }
}

/// The value at a row of the grid and any context, and whether that lies beyond the measurements.
fn inside(grid: &Grid, row: f64, context: f64) -> (f64, bool) {
    if context <= grid.limits().1 {
        let (us, measured) = grid.look_up(row, context);
        return (us, !measured);
    }
    (along_context(grid, row, context), true)
}

/// The value at a row of the grid and any context: beyond the grid linear in the context, to which
/// the work of a row is proportional.
fn along_context(grid: &Grid, row: f64, context: f64) -> f64 {
    let (_, longest) = grid.limits();
    if context <= longest {
        return grid.within(row, context);
    }
    let (half, last) = (grid.within(row, longest / 2.0), grid.within(row, longest));
    beyond((longest / 2.0, half), (longest, last), context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::SurfaceRow;

    fn surface(keys: [u32; 3], x: [u32; 3], time: impl Fn(f64, f64) -> f64) -> Surface {
        let rows = keys.map(|at| SurfaceRow {
            at,
            x: None,
            us: x.map(|x| time(f64::from(at), f64::from(x))).to_vec(),
        });
        Surface { x: x.to_vec(), rows: rows.to_vec() }
    }

    #[test]
    fn decoding_beyond_the_grid_is_linear_in_bytes() {
        let time = |n: f64, kv: f64| 5.0 + 0.01 * n * kv;
        let attention = DecodeAttention::new(&surface([1, 2, 4], [32, 64, 128], time));
        for (n, kv) in [(3.0, 100.0), (4.0, 512.0), (16.0, 100.0), (64.0, 4096.0)] {
            let (us, outside) = attention.us(n, kv);
            assert!((us / time(n, kv) - 1.0).abs() < 1e-12, "{us} at {n}, {kv}");
            assert_eq!(outside, n > 4.0 || kv > 128.0);
        }
    }

    #[test]
    fn prefill_beyond_the_grid_is_linear_in_work() {
        let time = |c: f64, kv: f64| 5.0 + 0.001 * c * (kv + c / 2.0);
        let attention = PrefillAttention::new(&surface([512, 1024, 2048], [0, 1024, 2048], time));
        for (c, kv) in [(1024.0, 8192.0), (16384.0, 0.0), (16384.0, 8192.0)] {
            let (us, outside) = attention.us(c, kv);
            assert!((us / time(c, kv) - 1.0).abs() < 1e-12, "{us} at {c}, {kv}");
            assert!(outside);
        }
        let (inside, outside) =
            (attention.us(2048.0, 2048.0).0, attention.us(2048.001, 2048.001).0);
        assert!((outside / inside - 1.0).abs() < 1e-5, "continuous");
    }
}

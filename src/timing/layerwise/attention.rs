//! Attention of a batch: interpolated on what was measured, corrected for unequal contexts.

use std::collections::BTreeMap;

use super::grid::{Grid, along};
use crate::profile::layerwise::{LayerwiseAttention, LayerwiseRank, Skew, Straggler};

/// Lengths of a batch, as attention sees them. Contexts do not count the tokens being fed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    /// Tokens of all chunks.
    pub chunk: f64,
    /// Context of the chunks, taken as one.
    pub chunk_context: f64,
    /// Decoding requests.
    pub decodes: u32,
    /// Whole tokens of context per decoding request.
    pub mean: f64,
    /// The longest context of a decoding request.
    pub longest: f64,
    /// The shortest.
    pub shortest: f64,
}

/// Microseconds of attention in one layer, by part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttentionTime {
    /// What the chunks would take alone.
    pub prefill: f64,
    /// The rest.
    pub decode: f64,
}

pub(super) struct Attention {
    /// By decoding requests and context.
    decode: Grid<2>,
    /// By chunk and its context.
    prefill: Grid<2>,
    /// By chunk, decoding requests, context of the chunk, context of the requests.
    mixed: Grid<4>,
    skew: Option<Skew>,
    straggler: Option<Straggler>,
    /// KV heads on this GPU.
    kv_heads: u32,
}

impl Attention {
    pub(super) fn new(
        rank: &LayerwiseRank,
        straggler: Option<Straggler>,
        kv_heads: u32,
    ) -> Attention {
        let tables = &rank.attention;
        Attention {
            decode: decode(tables),
            prefill: prefill(tables),
            mixed: mixed(tables),
            skew: rank.skew.clone(),
            straggler,
            kv_heads,
        }
    }

    /// The time of a batch, and whether it lies beyond what was measured. `slots` are the decoding
    /// requests with the padding of a captured graph.
    pub(super) fn us(&self, batch: &Lengths, slots: u32) -> (AttentionTime, bool) {
        let decodes = f64::from(batch.decodes);
        if batch.decodes == 0 {
            let at = [batch.chunk, batch.chunk_context];
            let time = AttentionTime { prefill: self.prefill.at(at), decode: 0.0 };
            return (time, self.prefill.is_beyond(at));
        }
        if batch.chunk == 0.0 {
            let at = |context: f64| self.decode.at([decodes, context]);
            let spread = self.spread(batch, at(batch.mean), at);
            let time = AttentionTime { prefill: 0.0, decode: spread.max(self.bound(batch, slots)) };
            return (time, self.decode.is_beyond([decodes, batch.longest]));
        }
        let at = |context: f64| self.mixed.at([batch.chunk, decodes, batch.chunk_context, context]);
        let whole = self.spread(batch, at(batch.mean), at);
        let prefill = self.prefill.at([batch.chunk, batch.chunk_context]).min(whole);
        let beyond =
            self.mixed.is_beyond([batch.chunk, decodes, batch.chunk_context, batch.longest]);
        (AttentionTime { prefill, decode: whole - prefill }, beyond)
    }

    /// Longest chunk, most decoding requests, longest contexts of both.
    pub(super) fn limits(&self) -> [f64; 4] {
        self.mixed.limits()
    }

    /// From the time with equal contexts towards that with the longest: by the share that the
    /// batch's class was measured to take.
    fn spread(&self, batch: &Lengths, equal: f64, at: impl Fn(f64) -> f64) -> f64 {
        let Some(skew) = &self.skew else { return equal };
        if batch.decodes <= 1 || batch.longest <= batch.mean {
            return equal;
        }
        let alpha = if batch.chunk > 0.0 { skew.default } else { alpha(skew, batch) };
        let longest = at(batch.longest);
        if longest > equal { equal + alpha * (longest - equal) } else { equal }
    }

    fn bound(&self, batch: &Lengths, slots: u32) -> f64 {
        match self.straggler {
            Some(bound) if slots.saturating_mul(self.kv_heads) >= bound.from_heads => {
                bound.us + bound.us_per_token * batch.longest
            }
            _ => 0.0,
        }
    }
}

fn alpha(skew: &Skew, batch: &Lengths) -> f64 {
    let class = |bounds: &[f64], x: f64| {
        bounds.partition_point(|bound| *bound < x).min(bounds.len().saturating_sub(1))
    };
    let position = (batch.mean - batch.shortest) / (batch.longest - batch.shortest);
    let requests = class(&skew.requests, f64::from(batch.decodes));
    let column = class(&skew.position, position.clamp(0.0, 1.0)) * skew.longest.len()
        + class(&skew.longest, batch.longest);
    skew.alpha[requests][column]
}

type Points = Vec<(f64, f64)>;

/// A slice as its rows: the curves along the context of the decoding requests, by the context of
/// the chunk.
fn rows(tables: &LayerwiseAttention, slice: usize) -> Vec<(f64, Points)> {
    let rows = &tables.slices[slice].2;
    rows.iter()
        .map(|row| {
            let axis = &tables.axes[row.1];
            let points = axis.iter().zip(&row.2).map(|(x, us)| (f64::from(*x), *us));
            (f64::from(row.0), points.collect())
        })
        .collect()
}

/// The distinct numbers of `values`, ascending.
fn axis(values: impl IntoIterator<Item = u32>) -> Vec<f64> {
    let distinct: std::collections::BTreeSet<u32> = values.into_iter().collect();
    distinct.into_iter().map(f64::from).collect()
}

/// The contexts of decoding requests in the slices that `keep` takes.
fn decode_contexts(tables: &LayerwiseAttention, keep: impl Fn(u32, u32) -> bool) -> Vec<f64> {
    let slices = tables.slices.iter().filter(|slice| keep(slice.0, slice.1));
    axis(slices.flat_map(|s| &s.2).flat_map(|row| tables.axes[row.1].iter().copied()))
}

/// The contexts of chunks in the slices that `keep` takes.
fn chunk_contexts(tables: &LayerwiseAttention, keep: impl Fn(u32, u32) -> bool) -> Vec<f64> {
    let slices = tables.slices.iter().filter(|slice| keep(slice.0, slice.1));
    axis(slices.flat_map(|slice| slice.2.iter().map(|row| row.0)))
}

fn decode(tables: &LayerwiseAttention) -> Grid<2> {
    let of_kind = |chunk: u32, decodes: u32| chunk == 0 && decodes > 0;
    let contexts = decode_contexts(tables, of_kind);
    let curves: Vec<(f64, Points)> = (0..tables.slices.len())
        .filter(|slice| of_kind(tables.slices[*slice].0, tables.slices[*slice].1))
        .filter_map(|slice| {
            let (_, points) = rows(tables, slice).into_iter().next()?;
            Some((f64::from(tables.slices[slice].1), points))
        })
        .collect();
    let requests = curves.iter().map(|(requests, _)| *requests).collect();
    let xs = contexts.clone();
    Grid::new([requests, contexts], |[n, x]| along(&curves[n].1, xs[x]))
}

fn prefill(tables: &LayerwiseAttention) -> Grid<2> {
    let of_kind = |chunk: u32, decodes: u32| chunk > 0 && decodes == 0;
    let contexts = chunk_contexts(tables, of_kind);
    let curves: Vec<(f64, Points)> = (0..tables.slices.len())
        .filter(|slice| of_kind(tables.slices[*slice].0, tables.slices[*slice].1))
        .map(|slice| {
            let rows = rows(tables, slice);
            let points = rows.iter().filter_map(|(x, row)| Some((*x, row.first()?.1)));
            (f64::from(tables.slices[slice].0), points.collect())
        })
        .collect();
    let chunks = curves.iter().map(|(chunk, _)| *chunk).collect();
    let xs = contexts.clone();
    Grid::new([chunks, contexts], |[chunk, x]| along(&curves[chunk].1, xs[x]))
}

/// Every slice resampled on common axes: that changes nothing, as slices are linear in between.
/// Slices that were not measured are extrapolated from those with fewer requests.
fn mixed(tables: &LayerwiseAttention) -> Grid<4> {
    let of_kind = |chunk: u32, decodes: u32| chunk > 0 && decodes > 0;
    let places: BTreeMap<(u32, u32), usize> = (tables.slices.iter().enumerate())
        .filter(|(_, slice)| of_kind(slice.0, slice.1))
        .map(|(place, slice)| ((slice.0, slice.1), place))
        .collect();
    let chunks = axis(places.keys().map(|key| key.0));
    let requests = axis(tables.slices.iter().map(|slice| slice.1).filter(|decodes| *decodes > 0));
    let chunk_x = chunk_contexts(tables, of_kind);
    let decode_x = decode_contexts(tables, of_kind);
    let measured: BTreeMap<(u32, u32), Vec<Points>> = places
        .iter()
        .map(|(key, slice)| {
            // Rows with all contexts of decoding requests, then curves along that of the chunk.
            let rows = rows(tables, *slice);
            let curves = decode_x.iter().map(|x| {
                rows.iter().map(|(chunk, points)| (*chunk, along(points, *x))).collect::<Points>()
            });
            (*key, curves.collect())
        })
        .collect();
    let (a, b, c) = (chunks.clone(), requests.clone(), chunk_x.clone());
    Grid::new([chunks, requests, chunk_x, decode_x], |[chunk, request, x, y]| {
        let value = |key: &(u32, u32)| measured.get(key).map(|curves| along(&curves[y], c[x]));
        let key = |request: f64| (a[chunk] as u32, request as u32);
        value(&key(b[request])).unwrap_or_else(|| {
            let known: Points = b.iter().filter_map(|n| Some((*n, value(&key(*n))?))).collect();
            along(&known, b[request])
        })
    })
}

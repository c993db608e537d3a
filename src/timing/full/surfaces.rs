//! A device's attention tables as those of one layout of heads, for Vidur's composition.

use super::attention::{Attention, Kind, prompt};
use super::basis::{Cost, TimeBasis};
use super::speed::{Heads, Speed};
use crate::profile::format::{Surface, SurfaceRow};
use crate::profile::operators::{Dtype, OperatorTables};

/// Attention of one layout of heads on one GPU.
pub(crate) struct AttentionSurfaces {
    /// Decoding requests by context.
    pub(crate) decode: Surface,
    /// Chunks by the context before them.
    pub(crate) prefill: Surface,
    /// Whether decode times are transferred from another layout.
    pub(crate) decode_transferred: bool,
    /// Which decode tables they rest on.
    pub(crate) decode_source: String,
    /// Which prefill tables they rest on.
    pub(crate) prefill_source: String,
}

/// Most tokens that a table reaches.
const MOST: u32 = 1 << 17;

/// Attention of `q` query and `kv` key/value heads, in bf16, at the points that the tables cover.
///
/// # Errors
/// The tables have no attention, or are malformed.
pub(crate) fn attention_surfaces(
    tables: &OperatorTables,
    q: u32,
    kv: u32,
    head_dim: u32,
) -> Result<AttentionSurfaces, String> {
    let heads = Heads { q, kv, head_dim, kv_dtype: Dtype::Bf16 };
    let speed = Speed::new(&tables.peak);
    let decode = Attention::new(Kind::Decode, &tables.decode, heads, speed)?;
    let prefill = Attention::new(Kind::Prefill, &tables.prefill, heads, speed)?;
    let powers: Vec<u32> = (0..10).map(|power| 1 << power).collect();
    let contexts = || quarters(32);
    let of_prefill = |chunk: f64, context: f64| {
        prompt(|requests, tokens| prefill.cost(requests, tokens), 1.0, chunk, context)
    };
    Ok(AttentionSurfaces {
        decode_transferred: decode.cost(1.0, 1024.0).basis != TimeBasis::Measured,
        decode: surface(&powers, &contexts(), |requests, tokens| decode.cost(requests, tokens))?,
        prefill: surface(&quarters(16), &[&[0], &contexts()[..]].concat(), of_prefill)?,
        decode_source: decode.source,
        prefill_source: prefill.source,
    })
}

/// Four points in each octave from `first` on.
fn quarters(first: u32) -> Vec<u32> {
    let octaves = std::iter::successors(Some(first), |start| Some(start * 2));
    let points = octaves.take_while(|start| *start < MOST);
    points.flat_map(|start| (0..4).map(move |part| start + start * part / 4)).collect()
}

/// The rows up to the first point that the tables do not cover.
fn surface(
    keys: &[u32],
    columns: &[u32],
    cost: impl Fn(f64, f64) -> Cost,
) -> Result<Surface, String> {
    let mut rows = Vec::new();
    for at in keys {
        let along = columns.iter().map(|x| cost(f64::from(*at), f64::from(*x)));
        let us: Vec<f64> = along
            .take_while(|cost| cost.basis != TimeBasis::Extrapolated)
            .map(|cost| rounded(cost.us))
            .collect();
        if us.len() > 1 {
            rows.push(SurfaceRow { at: *at, x: None, us });
        }
    }
    let longest = rows.iter().map(|row| row.us.len()).max();
    let longest = longest.ok_or("its attention tables have no point of this layout")?;
    Ok(Surface { x: columns[..longest].to_vec(), rows })
}

/// Four significant digits.
fn rounded(us: f64) -> f64 {
    format!("{us:.3e}").parse().unwrap_or(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_points_in_each_octave() {
        assert_eq!(quarters(16)[..9], [16, 20, 24, 28, 32, 40, 48, 56, 64]);
        assert!(quarters(32).is_sorted() && quarters(32).last() == Some(&(MOST / 8 * 7)));
    }

    /// Rows end where the tables do, and the points are those of the composition in full.
    #[test]
    fn points_are_the_tables() {
        let profile = crate::profile::shipped_operators("H100-SXM-80G").unwrap().load().unwrap();
        let tables = profile.operators.as_ref().unwrap();
        let found = attention_surfaces(tables, 32, 32, 128).unwrap();
        assert!(found.decode_transferred && found.decode_source.contains("vLLM"));
        let heads = Heads { q: 32, kv: 32, head_dim: 128, kv_dtype: Dtype::Bf16 };
        let speed = Speed::new(&tables.peak);
        let decode = Attention::new(Kind::Decode, &tables.decode, heads, speed).unwrap();
        let row = found.decode.rows.iter().find(|row| row.at == 16).unwrap();
        let column = found.decode.x.iter().position(|x| *x == 1024).unwrap();
        assert!((row.us[column] / decode.cost(16.0, 1024.0).us - 1.0).abs() < 1e-3);
        let most = found.prefill.rows.last().unwrap();
        assert!(most.at <= 16384 && most.us.len() < found.prefill.x.len(), "{}", most.at);
    }
}

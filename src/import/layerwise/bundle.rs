//! The CSV files of one tensor-parallel degree.

use std::collections::BTreeMap;
use std::path::Path;

use crate::import::layerwise::meta::{Buckets, Meta};
use crate::import::vidur_profile::table::CsvTable;
use crate::profile::ProfileError;
use crate::profile::format::{Curve, Surface, SurfaceRow};
use crate::profile::layerwise::{
    AttentionRow, AttentionSlice, LayerwiseAttention, LayerwiseRank, PerSequences, PerTokens, Skew,
    TokenOperator,
};

/// Reads `tp<degree>` of the bundle; adds the names of the files to `files`.
pub(super) fn read_rank(
    bundle: &Path,
    degree: u32,
    meta: &Meta,
    files: &mut Vec<String>,
) -> Result<LayerwiseRank, ProfileError> {
    let mut open = |name: &str| {
        let file = format!("tp{degree}/{name}");
        let table = CsvTable::read(&bundle.join(&file));
        files.push(file);
        table
    };
    let per_tokens = per_tokens(&open("dense.csv")?)?;
    let per_sequences = per_sequences(&open("per_sequence.csv")?)?;
    let attention = attention(&open("attention.csv")?)?;
    let folder = bundle.join(format!("tp{degree}"));
    let moe = match folder.join("moe.csv").exists() {
        true => Some(moe(&open("moe.csv")?)?),
        false => None,
    };
    let fit = meta.skew_fit.per_tp.get(&degree).filter(|_| meta.skew_fit.enabled);
    let skew = match (fit, &meta.skew_fit.bucket_axes) {
        (Some(fit), Some(buckets)) => {
            Some(skew(&open("skew_fit.csv")?, buckets, fit.alpha_default)?)
        }
        _ => None,
    };
    Ok(LayerwiseRank { tensor_parallel: degree, per_tokens, per_sequences, attention, moe, skew })
}

/// To four significant digits.
fn rounded(us: f64) -> f64 {
    // By way of the decimal text, so that the shortest form has no more digits.
    format!("{us:.3e}").parse().unwrap_or(us)
}

/// The curves of a file by the name of the layer, along `axis`.
fn curves(
    table: &CsvTable,
    axis: &str,
) -> Result<BTreeMap<String, BTreeMap<u32, f64>>, ProfileError> {
    let (layer, x, time) = (table.column("layer")?, table.column(axis)?, table.column("time_us")?);
    let mut curves: BTreeMap<String, BTreeMap<u32, f64>> = BTreeMap::new();
    for row in table.rows() {
        let curve = curves.entry(row.text(layer).to_owned()).or_default();
        curve.insert(row.integer(x)?, rounded(row.number(time)?));
    }
    Ok(curves)
}

fn per_tokens(table: &CsvTable) -> Result<PerTokens, ProfileError> {
    let mut curves = curves(table, "tokens")?;
    let Some(axis) = curves.get(TokenOperator::Layernorm.name()).cloned() else {
        return Err(table.nothing_measured("layer = layernorm".to_owned()));
    };
    let mut us = BTreeMap::new();
    for operator in TokenOperator::ALL {
        let Some(curve) = curves.remove(operator.name()) else { continue };
        if !curve.keys().eq(axis.keys()) {
            let wanted = format!("layer = {} at each of layernorm's tokens", operator.name());
            return Err(table.nothing_measured(wanted));
        }
        us.insert(operator, curve.into_values().collect());
    }
    Ok(PerTokens { tokens: axis.into_keys().collect(), us })
}

fn per_sequences(table: &CsvTable) -> Result<PerSequences, ProfileError> {
    let mut curves = curves(table, "sequences")?;
    let mut curve = |name: &str| match curves.remove(name) {
        Some(points) => {
            Ok(Curve { x: points.keys().copied().collect(), us: points.into_values().collect() })
        }
        None => Err(table.nothing_measured(format!("layer = {name}"))),
    };
    Ok(PerSequences { lm_head: curve("lm_head")?, sampler: curve("sampler")? })
}

fn attention(table: &CsvTable) -> Result<LayerwiseAttention, ProfileError> {
    let [chunk, kv_prefill, decodes, kv_decode] =
        ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode"].map(|name| table.column(name));
    let (chunk, kv_prefill, decodes, kv_decode) = (chunk?, kv_prefill?, decodes?, kv_decode?);
    let time = table.column("time_us")?;
    // (chunk, decodes) -> kv_prefill -> kv_decode -> time
    type Slice = BTreeMap<u32, BTreeMap<u32, f64>>;
    let mut measured: BTreeMap<(u32, u32), Slice> = BTreeMap::new();
    for row in table.rows() {
        let slice = measured.entry((row.integer(chunk)?, row.integer(decodes)?)).or_default();
        let points = slice.entry(row.integer(kv_prefill)?).or_default();
        points.insert(row.integer(kv_decode)?, rounded(row.number(time)?));
    }
    let mut axes: Vec<Vec<u32>> = Vec::new();
    let mut slices = Vec::new();
    for ((chunk, decodes), slice) in measured {
        let mut rows = Vec::new();
        for (kv_prefill, points) in slice {
            let x: Vec<u32> = points.keys().copied().collect();
            let axis = axes.iter().position(|axis| *axis == x).unwrap_or_else(|| {
                axes.push(x);
                axes.len() - 1
            });
            rows.push(AttentionRow(kv_prefill, axis, points.into_values().collect()));
        }
        slices.push(AttentionSlice(chunk, decodes, rows));
    }
    Ok(LayerwiseAttention { axes, slices })
}

fn moe(table: &CsvTable) -> Result<Surface, ProfileError> {
    let (tokens, experts) = (table.column("tokens")?, table.column("activated_experts")?);
    let time = table.column("time_us")?;
    let mut rows: BTreeMap<u32, BTreeMap<u32, f64>> = BTreeMap::new();
    for row in table.rows() {
        let points = rows.entry(row.integer(experts)?).or_default();
        points.insert(row.integer(tokens)?, rounded(row.number(time)?));
    }
    let Some(x) = rows.values().next().map(|points| points.keys().copied().collect::<Vec<_>>())
    else {
        return Err(table.nothing_measured("a time".to_owned()));
    };
    let rows = rows
        .into_iter()
        .map(|(at, points)| {
            let own: Vec<u32> = points.keys().copied().collect();
            let own = (own != x).then_some(own);
            SurfaceRow { at, x: own, us: points.into_values().collect() }
        })
        .collect();
    Ok(Surface { x, rows })
}

fn skew(table: &CsvTable, buckets: &Buckets, default: f64) -> Result<Skew, ProfileError> {
    let chunk = table.column("pc")?;
    let labels = [
        (table.column("n_label")?, &buckets.n_labels),
        (table.column("skew_rate_label")?, &buckets.skew_rate_labels),
        (table.column("kv_big_label")?, &buckets.kv_big_labels),
    ];
    let value = table.column("alpha")?;
    let bounds = |bins: &[f64]| bins.iter().skip(1).copied().collect::<Vec<f64>>();
    let requests = bounds(&buckets.n_bins);
    let position = bounds(&buckets.skew_rate_bins);
    let longest = bounds(&buckets.kv_big_bins);
    let mut alpha = vec![vec![default; position.len() * longest.len()]; requests.len()];
    for row in table.rows() {
        if row.integer(chunk)? != 0 {
            continue;
        }
        let mut class = [0; 3];
        for (class, (column, names)) in class.iter_mut().zip(&labels) {
            let name = row.text(*column);
            *class = names.iter().position(|label| label == name).ok_or_else(|| {
                table.nothing_measured(format!("a class that meta.yaml names (`{name}`)"))
            })?;
        }
        let place = class[1] * longest.len() + class[2];
        if let Some(alpha) = alpha.get_mut(class[0]).and_then(|row| row.get_mut(place)) {
            // A longest context can cost less than its share only by noise, but that is kept.
            *alpha = row.text(value).parse().unwrap_or(default);
        }
    }
    Ok(Skew { default, requests, position, longest, alpha })
}

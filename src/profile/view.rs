//! A profile as a list of tables, whatever its sections are: for showing and checking it.

use super::Profile;
use super::format::{Curve, Surface};
use super::layerwise::{AttentionRow, AttentionSlice};
use super::operators::Between;

/// A row's key, and its points `(x, microseconds)`.
pub type NamedRow = (String, Vec<(f64, f64)>);

/// A table of a profile.
#[derive(Clone, Debug)]
pub struct TableView {
    /// What it holds: `gemm bf16`.
    pub about: String,
    /// Who measured.
    pub source: String,
    /// What a row's key is: `N K`; empty if there is one row.
    pub keys: &'static str,
    /// What the axis is: `M`.
    pub axis: &'static str,
    /// How times run between points.
    pub between: Between,
    /// Rows: key and points, those alone that were kept.
    pub rows: Vec<NamedRow>,
}

/// Quality of a table, see [`TableView::quality`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Points that have a neighbour on either side.
    pub inner: usize,
    /// Median relative error of such a point when it is left out and interpolated.
    pub median: f64,
    /// 90th percentile of that.
    pub p90: f64,
    /// Share of steps along the axis on which the time falls by more than 2 %.
    pub falling: f64,
    /// The deepest fall.
    pub deepest: f64,
}

impl TableView {
    /// Leaves out each inner point in turn. An upper bound of the error of interpolation: points
    /// that interpolation finds anyway were left out when the profile was made.
    pub fn quality(&self) -> Quality {
        let mut errors = Vec::new();
        let (mut steps, mut falls, mut deepest) = (0_usize, 0_usize, 0.0_f64);
        for (_, points) in &self.rows {
            for three in points.windows(3) {
                let found = self.between.at(three[1].0, three[0], three[2]);
                errors.push((found / three[1].1 - 1.0).abs());
            }
            for two in points.windows(2) {
                let fall = 1.0 - two[1].1 / two[0].1;
                steps += 1;
                falls += usize::from(fall > 0.02);
                deepest = deepest.max(fall);
            }
        }
        errors.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (errors.len() as f64 * share) as usize;
            errors.get(index.min(errors.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        let falling = if steps == 0 { 0.0 } else { falls as f64 / steps as f64 };
        Quality { inner: errors.len(), median: at(0.5), p90: at(0.9), falling, deepest }
    }

    /// The first and the last point of the axis over all rows.
    pub fn range(&self) -> (f64, f64) {
        let points = self.rows.iter().flat_map(|(_, points)| points);
        points.fold((f64::INFINITY, 0.0), |(low, high), (x, _)| (low.min(*x), high.max(*x)))
    }
}

impl Profile {
    /// All tables.
    pub fn tables(&self) -> Vec<TableView> {
        let mut views = Vec::new();
        self.model_tables(&mut views);
        self.network_tables(&mut views);
        self.layer_tables(&mut views);
        let Some(operators) = &self.operators else { return views };
        for (about, table, keys, between) in operators.tables() {
            let kind = about.split(' ').next().unwrap_or("");
            let (key, axis) = match kind {
                "gemm" => ("N K", "M"),
                "prefill" => ("query heads, requests", "tokens of each"),
                "decode" => ("query heads, requests", "context of each"),
                "experts" => ("GPUs", "tokens"),
                _ => ("GPUs", "bytes"),
            };
            let rows = table.rows.lines().filter(|line| !line.is_empty()).map(|line| {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                let (keys, times) = words.split_at(keys.min(words.len()));
                let points = table.axis.iter().zip(times);
                let points = points.filter_map(|(x, us)| Some((f64::from(*x), us.parse().ok()?)));
                (keys.join(" "), points.collect())
            });
            let rows = rows.collect();
            let source = table.source.clone();
            views.push(TableView { about, source, keys: key, axis, between, rows });
        }
        views
    }

    fn model_tables(&self, views: &mut Vec<TableView>) {
        let Some(model) = &self.model else { return };
        let source = |covers: &str| {
            let found = self.provenance.iter().find(|p| p.covers == covers);
            found.or(self.provenance.first()).map_or(String::new(), |p| p.source.clone())
        };
        for rank in &model.ranks {
            let name = format!("{} TP {}", model.name, rank.tensor_parallel);
            let tokens = &rank.per_tokens.tokens;
            let rows = rank.per_tokens.us.iter().map(|(operator, us)| {
                let points = tokens.iter().map(|x| f64::from(*x)).zip(us.iter().copied());
                (operator.name().to_owned(), points.collect())
            });
            views.push(TableView {
                about: format!("operators {name}"),
                source: source("GEMM"),
                keys: "operator",
                axis: "tokens",
                between: Between::Linear,
                rows: rows.collect(),
            });
            for (kind, keys, axis, surface) in [
                ("decode", "requests", "context of each", &rank.attention.decode),
                ("prefill", "tokens", "context", &rank.attention.prefill),
            ] {
                views.push(TableView {
                    about: format!("{kind} {name}"),
                    source: source("attention"),
                    keys,
                    axis,
                    between: Between::Linear,
                    rows: surface_rows(surface),
                });
            }
        }
    }

    fn layer_tables(&self, views: &mut Vec<TableView>) {
        let Some(layers) = &self.layerwise else { return };
        let mut add = |about: String, keys, axis, rows| {
            let (source, between) = (layers.engine.clone(), Between::Linear);
            views.push(TableView { about, source, keys, axis, between, rows });
        };
        for rank in &layers.ranks {
            let name = format!("{} TP {}", layers.model, rank.tensor_parallel);
            let tokens = &rank.per_tokens.tokens;
            let rows = rank.per_tokens.us.iter().map(|(operator, us)| {
                let points = tokens.iter().map(|x| f64::from(*x)).zip(us.iter().copied());
                (operator.name().to_owned(), points.collect())
            });
            add(format!("layers {name}"), "operator", "tokens", rows.collect());
            let sampling = [
                ("lm_head".to_owned(), points(&rank.per_sequences.lm_head)),
                ("sampler".to_owned(), points(&rank.per_sequences.sampler)),
            ];
            add(format!("sampling {name}"), "operator", "requests", sampling.to_vec());
            let mut rows = Vec::new();
            for AttentionSlice(chunk, requests, contexts) in &rank.attention.slices {
                for AttentionRow(before, axis, us) in contexts {
                    let axis = rank.attention.axes.get(*axis).map_or(&[][..], Vec::as_slice);
                    let points = axis.iter().map(|x| f64::from(*x)).zip(us.iter().copied());
                    rows.push((format!("{chunk} {before} {requests}"), points.collect()));
                }
            }
            let keys = "chunk, its context, decoding requests";
            add(format!("attention {name}"), keys, "context of each", rows);
            if let Some(moe) = &rank.moe {
                add(format!("experts {name}"), "experts reached", "tokens", surface_rows(moe));
            }
        }
    }

    fn network_tables(&self, views: &mut Vec<TableView>) {
        let Some(network) = &self.network else { return };
        let source = self.provenance.iter().find(|p| p.covers == "network");
        let source = source.map_or(String::new(), |p| p.source.clone());
        let all_reduce =
            network.all_reduce.iter().map(|t| (t.workers.to_string(), points(&t.bytes)));
        let send_recv = network.send_recv.iter().map(|t| {
            let place = if t.within_node { "within a node" } else { "between nodes" };
            (place.to_owned(), points(&t.bytes))
        });
        for (about, keys, rows) in [
            ("AllReduce", "GPUs", all_reduce.collect::<Vec<_>>()),
            ("send/receive", "place", send_recv.collect()),
        ] {
            if !rows.is_empty() {
                views.push(TableView {
                    about: format!("{about} {}", network.name),
                    source: source.clone(),
                    keys,
                    axis: "bytes",
                    between: Between::Linear,
                    rows,
                });
            }
        }
    }
}

fn points(curve: &Curve) -> Vec<(f64, f64)> {
    curve.x.iter().map(|x| f64::from(*x)).zip(curve.us.iter().copied()).collect()
}

fn surface_rows(surface: &Surface) -> Vec<NamedRow> {
    let rows = surface.rows.iter().map(|row| {
        let columns = surface.columns(row).iter().map(|x| f64::from(*x));
        (row.at.to_string(), columns.zip(row.us.iter().copied()).collect())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_is_that_of_leaving_points_out() {
        let rows = vec![
            ("a".to_owned(), vec![(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]),
            ("b".to_owned(), vec![(1.0, 10.0), (2.0, 40.0), (3.0, 20.0)]),
        ];
        let (about, source) = (String::new(), String::new());
        let between = Between::Linear;
        let view = TableView { about, source, keys: "", axis: "x", between, rows };
        let quality = view.quality();
        assert_eq!((quality.inner, quality.falling, quality.deepest), (2, 0.25, 0.5));
        assert_eq!((quality.median, quality.p90), (0.625, 0.625));
    }

    #[test]
    fn every_shipped_profile_has_tables() {
        for shipped in crate::profile::shipped() {
            let tables = shipped.load().unwrap().tables();
            assert!(!tables.is_empty(), "{}", shipped.name);
            assert!(tables.iter().all(|table| !table.rows.is_empty()), "{}", shipped.name);
        }
    }
}

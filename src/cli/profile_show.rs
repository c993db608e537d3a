//! `vidur-ecs profile show` and `vidur-ecs profile check`.

use std::path::PathBuf;

use clap::Args;

use super::failure::{self, Failure};
use crate::hardware::{Parallelism, model};
use crate::output::text_table;
use crate::profile::{NamedRow, Profile, TableView};
use crate::report::width;
use crate::{profile, timing};

/// Arguments of `profile show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A shipped profile's name (`vidur-ecs profile list`), or a file
    name: String,
    /// Shows points of the first table whose description contains this
    #[arg(long, value_name = "TEXT")]
    table: Option<String>,
    /// Shows the points of the rows with this key, such as "4096 4096"; can be given several times
    /// [default: some of the table; without --table: of the first one]
    #[arg(long, value_name = "KEY")]
    row: Vec<String>,
}

/// Arguments of `profile check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A shipped profile's name (`vidur-ecs profile list`), or a file
    name: String,
    /// Shows what the times of this model would rest on
    #[arg(long)]
    model: Option<String>,
    /// Number of GPUs for each block
    #[arg(long, value_name = "GPUS", default_value_t = 1, requires = "model",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    tensor_parallel: u32,
}

/// The points of these rows in microseconds, one column each, by the axis.
fn points(axis: &str, rows: &[NamedRow], width: usize) -> String {
    let mut places: Vec<f64> = rows.iter().flat_map(|(_, row)| row.iter().map(|p| p.0)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let names = rows.iter().map(|(name, _)| format!("us at {name}"));
    let mut table = text_table::new(std::iter::once(axis.to_owned()).chain(names));
    text_table::fit(&mut table, width - 1);
    for place in places {
        let cells = rows.iter().map(|(_, row)| {
            let point = row.iter().find(|(x, _)| *x == place);
            point.map_or_else(String::new, |(_, us)| us.to_string())
        });
        table.add_row(std::iter::once(place.to_string()).chain(cells));
    }
    text_table::right_aligned(&mut table, 0);
    text_table::render(&table)
}

/// A shipped profile or a file.
fn load(name: &str) -> Result<Profile, Failure> {
    match profile::shipped().iter().find(|shipped| shipped.name == name) {
        Some(shipped) => shipped.load().map_err(Failure::unexpected),
        None if PathBuf::from(name).exists() => {
            profile::read(name.as_ref()).map_err(Failure::bad_argument)
        }
        None => {
            let names: Vec<&str> = profile::shipped().iter().map(|s| s.name).collect();
            let names = names.join("\n  ");
            Err(Failure::bad_argument(format!(
                "`{name}` is neither a file nor a shipped profile:\n  {names}"
            )))
        }
    }
}

impl ShowArgs {
    pub fn run(self) -> Result<(), Failure> {
        let profile = load(&self.name)?;
        let tables = profile.tables();
        let (width, texts) = (width(), profile.provenance.iter());
        let texts =
            texts.map(|p| format!("{} on {}: {} ({})", p.covers, p.device, p.source, p.licence));
        let mut list = text_table::plain();
        text_table::fit(&mut list, width - 1);
        for table in &tables {
            let (low, high) = table.range();
            let points: usize = table.rows.iter().map(|(_, points)| points.len()).sum();
            let rows = table.rows.len();
            let size = format!(
                "{} {low}..{high}, {rows} rows by {}, {points} points ({})",
                table.axis, table.keys, table.source
            );
            list.add_row([table.about.clone(), size]);
        }
        failure::say(&format!(
            "{} on {}\n\n{}\n\n{}",
            self.name,
            profile.device,
            text_table::broken(texts, width),
            text_table::render(&list)
        ));
        if self.table.is_none() && self.row.is_empty() {
            return Ok(());
        }
        let wanted = self.table.as_deref().unwrap_or("");
        let Some(table) = tables.iter().find(|table| table.about.contains(wanted)) else {
            return Err(Failure::bad_argument(format!("no table's description has `{wanted}`")));
        };
        let rows = self.rows(table)?;
        failure::say(&format!(
            "\n{} ({})\n{}",
            table.about,
            table.source,
            points(table.axis, &rows, width)
        ));
        Ok(())
    }

    /// The rows that were asked for, or three spread over the table.
    fn rows(&self, table: &TableView) -> Result<Vec<NamedRow>, Failure> {
        let count = table.rows.len();
        if self.row.is_empty() {
            let mut some: Vec<usize> = vec![0, count / 2, count.saturating_sub(1)];
            some.dedup();
            return Ok(some.into_iter().filter_map(|at| table.rows.get(at).cloned()).collect());
        }
        let row = |key: &String| {
            table.rows.iter().find(|(name, _)| name == key).cloned().ok_or_else(|| {
                Failure::bad_argument(format!(
                    "`{}` has no row {key} ({})",
                    table.about, table.keys
                ))
            })
        };
        self.row.iter().map(row).collect()
    }
}

impl CheckArgs {
    pub fn run(self) -> Result<(), Failure> {
        let profile = load(&self.name)?;
        let tables = profile.tables();
        let width = width();
        let headings = ["", "median", "P90", "points", "falls", "at most"];
        let mut list = text_table::new(headings);
        text_table::fit(&mut list, width - 1);
        for table in &tables {
            let quality = table.quality();
            let percent = |share: f64, digits: usize| format!("{:.digits$} %", share * 100.0);
            list.add_row([
                table.about.clone(),
                percent(quality.median, 1),
                percent(quality.p90, 1),
                quality.inner.to_string(),
                percent(quality.falling, 1),
                percent(quality.deepest, 0),
            ]);
        }
        text_table::right_aligned(&mut list, 1);
        (1..6).for_each(|column| text_table::keep_whole(&mut list, column));
        let about = "The errors when each point in turn is left out (profiles already omit points that \
                     interpolation finds, so these are upper bounds), the share of steps along the axis \
                     where times fall, and the largest fall:";
        failure::say(&format!(
            "{}\n\n{}",
            text_table::broken([about.to_owned()], width),
            text_table::render(&list)
        ));
        let mut transfers = timing::transfer_errors(&profile).map_err(Failure::bad_argument)?;
        if !transfers.is_empty() {
            transfers.iter_mut().for_each(|error| *error = error.abs());
            transfers.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| {
                let index = (transfers.len() as f64 * share) as usize;
                transfers.get(index).copied().unwrap_or(0.0) * 100.0
            };
            let text = format!(
                "Leaving out each matrix in turn and transferring from its neighbours: error median \
                 {:.1} %, P90 {:.1} %",
                at(0.5),
                at(0.9)
            );
            failure::say(&format!("\n{}", text_table::broken([text], width)));
        }
        match &self.model {
            Some(name) => self.cover(&profile, name),
            None => Ok(()),
        }
    }

    fn cover(&self, profile: &Profile, name: &str) -> Result<(), Failure> {
        let model = model::find(name).ok_or_else(|| {
            let near = model::closest(name).map_or(String::new(), |n| format!("; {n}?"));
            Failure::bad_argument(format!("there is no model called `{name}`{near}"))
        })?;
        let parallel = Parallelism { tensor: self.tensor_parallel, pipeline: 1 };
        let covered = timing::coverage(profile, model, parallel)
            .map_err(|why| Failure::bad_argument(format!("{}: {why}", self.name)))?;
        failure::say(&format!(
            "\n{} on {} {}, TP {}:",
            model.name, self.tensor_parallel, profile.device, self.tensor_parallel
        ));
        let notes = covered.warnings.iter().map(|warning| format!("note: {warning}"));
        let used = covered.used.iter().map(ToString::to_string);
        failure::say(&text_table::broken(used.chain(notes), width()));
        let mut list = text_table::new(["", "ms", "measured", "transferred", "extrapolated"]);
        text_table::fit(&mut list, width() - 1);
        for batch in &covered.batches {
            let [measured, transferred, extrapolated] =
                batch.shares.map(|share| format!("{:.0} %", share * 100.0));
            let ms = format!("{:.3}", batch.ms);
            list.add_row([batch.about.to_string(), ms, measured, transferred, extrapolated]);
        }
        text_table::right_aligned(&mut list, 1);
        (1..5).for_each(|column| text_table::keep_whole(&mut list, column));
        failure::say(&text_table::render(&list));
        Ok(())
    }
}

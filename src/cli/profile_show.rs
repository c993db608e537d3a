//! `vidur-ecs profile show` and `vidur-ecs profile check`.

use std::path::PathBuf;

use clap::Args;

use super::failure::{self, Failure};
use super::plot::plot;
use crate::hardware::{Parallelism, model};
use crate::profile::{NamedRow, Profile, TableView};
use crate::{profile, timing};

/// Arguments of `profile show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A shipped profile's name (`vidur-ecs profile list`), or a file
    name: String,
    /// Plot the first table whose description contains this [default: the first]
    #[arg(long, value_name = "TEXT")]
    table: Option<String>,
    /// Plot the rows with this key, such as "4096 4096"; may be repeated [default: some]
    #[arg(long, value_name = "KEY")]
    row: Vec<String>,
}

/// Arguments of `profile check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A shipped profile's name (`vidur-ecs profile list`), or a file
    name: String,
    /// What the times of this model would rest on
    #[arg(long)]
    model: Option<String>,
    /// With this many GPUs for each block
    #[arg(long, value_name = "GPUS", default_value_t = 1, requires = "model",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    tensor_parallel: u32,
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
        failure::say(&format!("{} on {}\n", self.name, profile.device));
        for p in &profile.provenance {
            failure::say(&format!("  {} on {}: {} ({})", p.covers, p.device, p.source, p.licence));
        }
        failure::say("");
        let width = tables.iter().map(|t| t.about.len()).max().unwrap_or(0);
        for table in &tables {
            let (low, high) = table.range();
            let points: usize = table.rows.iter().map(|(_, points)| points.len()).sum();
            failure::say(&format!(
                "  {:width$}  {} {low}..{high}, {} rows by {}, {points} points ({})",
                table.about,
                table.axis,
                table.rows.len(),
                table.keys,
                table.source
            ));
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
            plot(&rows, table.axis, "microseconds")
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
        let width = tables.iter().map(|t| t.about.len()).max().unwrap_or(0);
        failure::say(
            "Leaving out each point in turn (points that interpolation finds are left out of \
             profiles already,\nso these are upper bounds), and how often times fall along the axis:\n",
        );
        for table in &tables {
            let quality = table.quality();
            failure::say(&format!(
                "  {:width$}  error median {:5.1} %, P90 {:5.1} % of {:5} points; falls on {:4.1} % \
                 of steps, at most by {:.0} %",
                table.about,
                quality.median * 100.0,
                quality.p90 * 100.0,
                quality.inner,
                quality.falling * 100.0,
                quality.deepest * 100.0
            ));
        }
        let mut transfers = timing::transfer_errors(&profile).map_err(Failure::bad_argument)?;
        if !transfers.is_empty() {
            transfers.iter_mut().for_each(|error| *error = error.abs());
            transfers.sort_unstable_by(f64::total_cmp);
            let at = |share: f64| {
                let index = (transfers.len() as f64 * share) as usize;
                transfers.get(index).copied().unwrap_or(0.0) * 100.0
            };
            failure::say(&format!(
                "\nLeaving out each matrix in turn and transferring from its neighbours: error median \
                 {:.1} %, P90 {:.1} %",
                at(0.5),
                at(0.9)
            ));
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
        for used in &covered.used {
            failure::say(&format!("  {used}"));
        }
        for warning in &covered.warnings {
            failure::say(&format!("  note: {warning}"));
        }
        for batch in &covered.batches {
            let [measured, transferred, extrapolated] = batch.shares.map(|share| share * 100.0);
            failure::say(&format!(
                "  {:33} {:9.3} ms: {measured:3.0} % measured, {transferred:3.0} % transferred, \
                 {extrapolated:3.0} % extrapolated",
                batch.about, batch.ms
            ));
        }
        Ok(())
    }
}

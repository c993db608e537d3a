//! Checks what a run wrote, from its files alone: counts, sums of tokens, the order of times, busy
//! time, KV blocks, Little's law and rates.
//!
//! It knows what the files mean (docs/output.md) and nothing of how they are made, so that a fault
//! of the simulation, of its books or of a writer shows all the same.

mod batches;
mod files;
mod requests;
mod series;
mod summary;
mod window;

use std::path::Path;

use self::files::Files;

/// Violations found in a result folder.
#[derive(Debug, Default)]
struct Findings(Vec<String>);

impl Findings {
    /// More of one kind than this are of no use to anybody.
    const MOST: usize = 50;

    fn add(&mut self, what: String) {
        if self.0.len() < Findings::MOST {
            self.0.push(what);
        }
    }

    /// Notes that `got` is not `want`, but for a millionth.
    fn near(&mut self, what: &str, got: f64, want: f64) {
        if !is_near(got, want) {
            self.add(format!("{what}: {got}, expected {want}"));
        }
    }

    /// Notes that two counts differ.
    fn equal(&mut self, what: &str, got: u64, want: u64) {
        if got != want {
            self.add(format!("{what}: {got}, expected {want}"));
        }
    }

    /// Notes that `got` is above `most`.
    fn at_most(&mut self, what: &str, got: f64, most: f64) {
        if got > most * (1.0 + 1e-9) + 1e-12 {
            self.add(format!("{what}: {got}, more than {most}"));
        }
    }
}

/// Whether two numbers are equal but for a millionth.
fn is_near(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-6 * want.abs().max(1e-6)
}

/// Checks a result folder of one seed: a scenario without variants, with `request_metrics.csv`,
/// `batch_metrics.csv`, `time_series.csv` and `summary.json`. What is not there is not checked.
///
/// Returns what is wrong; nothing if all is right.
///
/// ```no_run
/// let wrong = vidur_ecs::testing::check_results("results/i2_1".as_ref());
/// assert!(wrong.is_empty(), "{wrong:#?}");
/// ```
pub fn check_results(folder: &Path) -> Vec<String> {
    let files = match Files::read(folder) {
        Ok(files) => files,
        Err(why) => return vec![why],
    };
    let mut findings = Findings::default();
    summary::check(&files, &mut findings);
    requests::check(&files, &mut findings);
    batches::check(&files, &mut findings);
    series::check(&files, &mut findings);
    window::check(&files, &mut findings);
    findings.0
}

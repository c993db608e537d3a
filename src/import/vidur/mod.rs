//! `import vidur`: a scenario from the `config.json` of a run of Vidur (commit 7d47513).
//!
//! The scenario reproduces that run's semantics, quirks included, each as an option whose name
//! says `vidur`. What Vidur derives and does not write down (the KV blocks of its memory planner)
//! is computed here and written outright.

mod config;
mod engine;
mod workload;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use config::Config;

use crate::base::{Diagnostic, paths};
use crate::timing::FormulaSettings;

/// What to import.
#[derive(Clone, Debug)]
pub struct VidurImport {
    /// The `config.json`.
    pub config: PathBuf,
    /// The exact list of requests (`id,arrived_at,num_prefill_tokens,num_decode_tokens`), plain or
    /// gzipped, instead of the config's generators.
    pub trace: Option<PathBuf>,
    /// A closed form instead of measured times.
    pub formula: Option<FormulaSettings>,
    /// The folder where the scenario will stand; paths in it are relative to that.
    pub base_dir: PathBuf,
}

/// An imported scenario.
#[derive(Clone, Debug)]
pub struct ImportedScenario {
    /// The scenario file.
    pub text: String,
    /// What a user should know.
    pub warnings: Vec<Diagnostic>,
}

impl VidurImport {
    /// Reads the config and writes the scenario.
    ///
    /// # Errors
    /// A value that is missing, of the wrong type or not supported, with its place in the file.
    pub fn run(&self) -> Result<ImportedScenario, Box<Diagnostic>> {
        let config = Config::open(&self.config)?;
        let mut out = Writer::default();
        self.write(&config, &mut out)?;
        Ok(ImportedScenario { text: out.text, warnings: out.warnings })
    }

    fn write(&self, config: &Config, out: &mut Writer) -> Result<(), Box<Diagnostic>> {
        let engine = engine::Engine::read(config, out)?;
        let name =
            self.config.file_name().map_or_else(|| "config.json".into(), |n| n.to_string_lossy());
        out.line(&format!(
            "// Imported from Vidur's {name}. The options called vidur_* reproduce what Vidur does"
        ));
        out.line("// differently from the engines it models.");
        out.line("(");
        out.line(&format!("    title: {:?},", self.title(&engine, config)?));
        engine.write(self.formula.is_some(), out);
        workload::write(self, config, out)?;
        self.write_timing(config, out)?;
        out.line(&format!(
            "    seed: {},",
            config.optional_count("request_generator_config.seed")?.unwrap_or(42)
        ));
        let limit = config.optional_number("time_limit")?.unwrap_or(0.0);
        if limit > 0.0 {
            out.line(&format!("    time_limit_s: {limit:?},"));
        }
        out.line(")");
        Ok(())
    }

    fn title(&self, engine: &engine::Engine, config: &Config) -> Result<String, Box<Diagnostic>> {
        let load = match &self.trace {
            Some(trace) => trace.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            None => workload::title(config)?,
        };
        Ok(format!("Vidur: {}, {load}", engine.title()))
    }

    fn write_timing(&self, config: &Config, out: &mut Writer) -> Result<(), Box<Diagnostic>> {
        if let Some(FormulaSettings { base, per_token, per_context }) = self.formula {
            out.line(&format!(
                "    timing: Formula(base: {base:?}, per_token: {per_token:?}, per_context: {per_context:?}),"
            ));
            return Ok(());
        }
        engine::write_measured(config, out)
    }

    /// A path as the scenario names it.
    fn path_from_scenario(&self, file: &Path) -> PathBuf {
        paths::relative(file, &self.base_dir)
    }
}

/// The scenario so far.
#[derive(Default)]
struct Writer {
    text: String,
    warnings: Vec<Diagnostic>,
}

impl Writer {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// A line with a remark behind it.
    fn remarked(&mut self, line: &str, remark: &str) {
        self.line(&if remark.is_empty() {
            line.to_owned()
        } else {
            format!("{line:<40}// {remark}")
        });
    }

    fn warn(&mut self, warning: Diagnostic) {
        self.warnings.push(warning);
    }
}

#[cfg(test)]
mod tests;

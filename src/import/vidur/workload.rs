//! The requests of a Vidur config.

use std::path::{Path, PathBuf};

use super::config::Config;
use super::{VidurImport, Writer};
use crate::base::Diagnostic;

const GENERATOR: &str = "request_generator_config";
const INTERVALS: &str = "request_generator_config.interval_generator_config";
const LENGTHS: &str = "request_generator_config.length_generator_config";

/// Vidur's length traces of which a joint distribution is part of the program.
const SHIPPED: [(&str, &str); 3] = [
    ("splitwise_conv", "azure-conv-2023"),
    ("splitwise_code", "azure-code-2023"),
    ("arxiv_summarization", "arxiv-summarization"),
];

/// A few words on the load.
pub(super) fn title(config: &Config) -> Result<String, Box<Diagnostic>> {
    if config.text(&format!("{GENERATOR}.name"))? == "trace_replay" {
        return Ok("trace replay".to_owned());
    }
    let lengths = config.text(&format!("{LENGTHS}.name"))?.to_owned();
    Ok(match config.optional_number(&format!("{INTERVALS}.qps"))? {
        Some(qps) => format!("{lengths} lengths, {qps} requests/s"),
        None => format!("{lengths} lengths"),
    })
}

/// The `workload` section.
pub(super) fn write(
    import: &VidurImport,
    config: &Config,
    out: &mut Writer,
) -> Result<(), Box<Diagnostic>> {
    out.line("    workload: (");
    if let Some(trace) = &import.trace {
        if !trace.is_file() {
            return Err(Box::new(Diagnostic::error(format!(
                "--trace: there is no file {}",
                trace.display()
            ))));
        }
        let file = import.path_from_scenario(trace);
        out.line(&format!(
            "        trace: (file: {:?}, format: Vidur),  // the exact requests, with their ids",
            slashed(&file)
        ));
    } else {
        let path = format!("{GENERATOR}.name");
        match config.text(&path)? {
            "synthetic" => write_synthetic(import, config, out)?,
            "trace_replay" => write_replay(import, config, out)?,
            _ => return Err(config.error(&path, "`synthetic` or `trace_replay`")),
        }
    }
    out.line("    ),");
    Ok(())
}

fn write_synthetic(
    import: &VidurImport,
    config: &Config,
    out: &mut Writer,
) -> Result<(), Box<Diagnostic>> {
    let duration = format!("{GENERATOR}.duration");
    match config.optional_number(&duration)? {
        // Vidur's duration beats its num_requests, which stays at its default.
        Some(seconds) if seconds > 0.0 => out.line(&format!("        duration_s: {seconds:?},")),
        Some(_) => return Err(config.error(&duration, "above 0")),
        None => {
            let path = format!("{GENERATOR}.num_requests");
            out.line(&format!("        requests: {},", config.at_least_one(&path)?));
        }
    }
    write_arrivals(config, out)?;
    write_lengths(import, config, out)
}

fn write_arrivals(config: &Config, out: &mut Writer) -> Result<(), Box<Diagnostic>> {
    let at = |field: &str| format!("{INTERVALS}.{field}");
    let number = |field: &str| config.positive(&at(field));
    match config.text(&at("name"))? {
        "poisson" => out.line(&format!(
            "        arrivals: Poisson(qps: {:?}, clip: 3.0),  // Vidur cuts gaps at 3 means: the real rate is 5.2 % higher",
            number("qps")?
        )),
        "gamma" => {
            out.line(&format!("        arrivals: Gamma(qps: {:?}, cv: {:?}),", number("qps")?, number("cv")?));
        }
        "static" => out.line("        arrivals: Static,"),
        "trace" => {
            let error = config.error(&at("name"), "`poisson`, `gamma` or `static`");
            return Err(Box::new((*error).help(
                "give the requests of that run with --trace REQUESTS.csv (Vidur drops the first row and rounds to seconds)",
            )));
        }
        _ => return Err(config.error(&at("name"), "`poisson`, `gamma`, `static` or `trace`")),
    }
    Ok(())
}

fn write_lengths(
    import: &VidurImport,
    config: &Config,
    out: &mut Writer,
) -> Result<(), Box<Diagnostic>> {
    let at = |field: &str| format!("{LENGTHS}.{field}");
    let count = |field: &str| config.count(&at(field));
    let number = |field: &str| config.number(&at(field));
    let share = || {
        let ratio = number("prefill_to_decode_ratio")?;
        if ratio > 0.0 && ratio.is_finite() {
            Ok(ratio / (1.0 + ratio))
        } else {
            Err(config.error(&at("prefill_to_decode_ratio"), "a number above 0"))
        }
    };
    match config.text(&at("name"))? {
        "fixed" => out.line(&format!(
            "        lengths: Fixed(prompt: {}, output: {}),",
            count("prefill_tokens")?,
            count("decode_tokens")?
        )),
        "uniform" => out.line(&format!(
            "        lengths: Uniform(total: ({}, {}), prompt_share: {:?}),",
            count("min_tokens")?,
            count("max_tokens")?,
            share()?
        )),
        "zipf" => {
            if config.flag(&at("scramble"), false)? {
                out.warn(Diagnostic::warning(
                    "`scramble` is left out: Vidur's permutation differs from process to process",
                ));
            }
            out.line(&format!(
                "        lengths: Zipf(total: ({}, {}), theta: {:?}, prompt_share: {:?}),",
                count("min_tokens")?,
                count("max_tokens")?,
                number("theta")?,
                share()?
            ));
        }
        "trace" => write_trace_lengths(import, config, out)?,
        _ => return Err(config.error(&at("name"), "`fixed`, `uniform`, `zipf` or `trace`")),
    }
    Ok(())
}

fn write_trace_lengths(
    import: &VidurImport,
    config: &Config,
    out: &mut Writer,
) -> Result<(), Box<Diagnostic>> {
    let at = |field: &str| format!("{LENGTHS}.{field}");
    let name = config.text(&at("trace_file"))?;
    let max_total = config.count(&at("max_tokens"))?;
    let (prompt_scale, output_scale) =
        (config.number(&at("prefill_scale_factor"))?, config.number(&at("decode_scale_factor"))?);
    let file = find_trace(import, name);
    let shipped = SHIPPED.iter().find(|(theirs, _)| {
        Path::new(name).file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with(theirs))
    });
    if let (None, Some((_, ours))) = (&file, shipped)
        && (prompt_scale, output_scale) == (1.0, 1.0)
    {
        out.warn(
            Diagnostic::warning(format!(
                "the config's trace {name} is not here: lengths are drawn from `{ours}`, which was made of the same data"
            ))
            .help("for the exact requests of that run use --trace"),
        );
        out.remarked(
            &format!("        lengths: Empirical(name: {ours:?}, max_total: {max_total}),"),
            name,
        );
        return Ok(());
    }
    let file = file.unwrap_or_else(|| not_here(name, out));
    out.line("        lengths: Trace(");
    out.line(&format!("            file: {:?},", slashed(&file)));
    out.line("            shuffle: true,");
    out.line(&format!("            prompt_scale: {prompt_scale:?},"));
    out.line(&format!("            output_scale: {output_scale:?},"));
    out.line(&format!("            max_total: {max_total},"));
    out.line("        ),");
    Ok(())
}

fn write_replay(
    import: &VidurImport,
    config: &Config,
    out: &mut Writer,
) -> Result<(), Box<Diagnostic>> {
    let at = |field: &str| format!("{GENERATOR}.{field}");
    let scale = |field: &str| config.optional_number(&at(field)).map(|scale| scale.unwrap_or(1.0));
    let file = config.text(&at("trace_file"))?;
    let file = find_trace(import, file).unwrap_or_else(|| not_here(file, out));
    out.line("        trace: (");
    out.line(&format!("            file: {:?},", slashed(&file)));
    out.line("            format: Vidur,");
    out.line(&format!("            time_scale: {:?},", scale("time_scale_factor")?));
    out.line(&format!("            prompt_scale: {:?},", scale("prefill_scale_factor")?));
    out.line(&format!("            output_scale: {:?},", scale("decode_scale_factor")?));
    out.line(&format!("            max_total: {},", config.count(&at("max_tokens"))?));
    out.line("        ),");
    Ok(())
}

/// A trace that the config names, if it is there: seen from the working folder or the config's.
fn find_trace(import: &VidurImport, name: &str) -> Option<PathBuf> {
    let beside = import.config.parent().unwrap_or(Path::new(".")).join(name);
    let found = [Path::new(name), &beside].into_iter().find(|candidate| candidate.is_file())?;
    Some(import.path_from_scenario(found))
}

/// The path as it is, with a warning.
fn not_here(name: &str, out: &mut Writer) -> PathBuf {
    out.warn(
        Diagnostic::warning(format!("the config's trace {name} is not here")).help(
            "put it there, change the path in the scenario, or give the requests with --trace",
        ),
    );
    name.into()
}

/// A path with forward slashes, so that the scenario is the same on every system.
fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

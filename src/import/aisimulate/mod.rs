//! Computes a device's profile from the tables of NVIDIA AISimulate (feature `aisimulate`).
//!
//! The source is the wheel of the Python package `aisimulate`, or the folder `systems` in it. Taken
//! are, for one engine and the newest of its versions up to a given one: matrix products (and the
//! versions that the source itself declares as fillers of gaps), prefill and decode attention,
//! the experts of mixtures, the engine's all-reduce, and NCCL. Where the engine's attention tables
//! stop at few heads, the same GPU's tables of other engines go on: see [`attention`].
//!
//! Changed against the source: milliseconds to microseconds of four digits, points left out that
//! interpolation finds, times below the roofline raised to it (kernels on data that happened to be
//! in the cache), message sizes in bytes.

mod archive;
mod attention;
mod comm;
mod gemm;
mod parquet_file;
mod system;

use std::path::PathBuf;

use crate::hardware::find_device;
use crate::profile::format::{FORMAT, Profile, Provenance};
use crate::profile::operators::OperatorTables;
use crate::profile::{CheckedWith, ProfileError};

use archive::Archive;
use system::System;

/// What to import; the arguments of `vidur-ecs profile import aisimulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportAisimulateOptions {
    /// The wheel of the Python package, or its unpacked folder `systems`
    pub path: PathBuf,
    /// Device, by our name (H100-SXM-80G)
    #[arg(long)]
    pub device: String,
    /// The system in the source [default: the device's]
    #[arg(long)]
    pub system: Option<String>,
    /// The newest version of vLLM to take
    #[arg(long, default_value = "0.24.0")]
    pub engine_version: String,
    /// What simulated times were checked against; written into the profile
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub checked_against: String,
    /// A model and its GPUs that they were checked for (Llama-2-7B:1); can be given several times
    #[arg(long, value_name = "MODEL:TP", requires = "checked_against")]
    pub checked_with: Vec<CheckedWith>,
}

/// What was taken, while it is gathered.
struct Import<'a> {
    system: System<'a>,
    engine_version: &'a str,
    tables: OperatorTables,
    provenance: Vec<Provenance>,
    device: String,
}

impl Import<'_> {
    /// Notes that `files` are the source of `covers`.
    fn note(&mut self, covers: &str, source: &str, files: Vec<String>) {
        self.provenance.push(Provenance {
            covers: covers.to_owned(),
            device: self.device.clone(),
            source: source.to_owned(),
            files,
            licence:
                "Apache-2.0, Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES; modified"
                    .to_owned(),
        });
    }
}

/// The engine whose tables come first.
const ENGINE: &str = "vllm";

/// Computes the profile of one device.
///
/// # Errors
/// An unknown device or system, a file that is missing or unreadable, a malformed row.
pub fn import_aisimulate(options: &ImportAisimulateOptions) -> Result<Profile, ProfileError> {
    let device = find_device(&options.device).ok_or_else(|| {
        ProfileError::Options(format!("there is no device called `{}`", options.device))
    })?;
    let archive = Archive::open(&options.path)?;
    let name = match &options.system {
        Some(name) => name.clone(),
        None => system_of(device.name).ok_or_else(|| {
            ProfileError::Options(format!(
                "which system is {}? Say so with --system; there are {}",
                device.name,
                archive.list("data").join(", ")
            ))
        })?,
    };
    let system = System::open(&archive, &name)?;
    let tables = OperatorTables {
        thinned: crate::profile::grid::THINNED,
        peak: system.peak()?,
        gemm: Vec::new(),
        prefill: Vec::new(),
        decode: Vec::new(),
        experts: Vec::new(),
        collectives: Vec::new(),
    };
    let mut import = Import {
        system,
        engine_version: &options.engine_version,
        tables,
        provenance: Vec::new(),
        device: device.name.to_owned(),
    };
    gemm::import(&mut import)?;
    attention::import(&mut import)?;
    gemm::import_experts(&mut import)?;
    comm::import(&mut import)?;
    Ok(Profile {
        format: FORMAT,
        device: device.name.to_owned(),
        tool: "vidur-ecs profile import aisimulate".to_owned(),
        checked_against: options.checked_against.clone(),
        checked_with: options.checked_with.clone(),
        provenance: import.provenance,
        model: None,
        network: None,
        layerwise: None,
        operators: Some(import.tables),
    })
}

/// The source's name of one of our devices.
fn system_of(device: &str) -> Option<String> {
    let name = match device {
        "A100-SXM-80G" => "a100_sxm",
        "H100-SXM-80G" => "h100_sxm",
        "H200-SXM-141G" => "h200_sxm",
        "B200-SXM-180G" => "b200_sxm",
        "L40S" => "l40s",
        "RTX-PRO-6000" => "rtx_pro_6000_server",
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped tables are those that the importer computes, to the byte.
    #[test]
    fn shipped_profiles_are_computed_again() {
        let Some(path) = std::env::var_os("AISIMULATE_WHEEL") else {
            crate::recorded::skip("AISIMULATE_WHEEL to name the wheel");
            return;
        };
        let shipped = crate::profile::shipped().iter();
        // The source has no RTX 4090.
        let operators =
            shipped.filter(|s| s.name.ends_with("/operators") && !s.name.contains("4090"));
        for shipped in operators {
            let device = shipped.name.trim_end_matches("/operators").to_owned();
            // As profiles/README.md has the commands.
            let checked_against = match device.as_str() {
                "h100-sxm-80g" => {
                    "vLLM 0.11, Llama-2-7B: mean E2E and TPOT within 3 %, TTFT within 10 %"
                }
                _ => "",
            };
            let options = ImportAisimulateOptions {
                path: path.clone().into(),
                device,
                system: None,
                engine_version: "0.24.0".to_owned(),
                checked_with: match checked_against {
                    "" => Vec::new(),
                    _ => vec![CheckedWith { model: "Llama-2-7B".to_owned(), tensor: 1 }],
                },
                checked_against: checked_against.to_owned(),
            };
            let profile = import_aisimulate(&options).unwrap();
            assert!(profile.to_string() == shipped.text(), "{} differs", shipped.name);
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let options = |device: &str| ImportAisimulateOptions {
            path: folder.path().to_owned(),
            device: device.to_owned(),
            system: None,
            engine_version: "0.24.0".to_owned(),
            checked_against: String::new(),
            checked_with: Vec::new(),
        };
        let error = |device| import_aisimulate(&options(device)).unwrap_err().to_string();
        assert!(error("V100").contains("V100"));
        assert!(error("RTX-4090").contains("--system"));
        assert!(error("H100-SXM-80G").contains("h100_sxm.yaml"));
    }
}

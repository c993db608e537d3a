//! Computes a profile from measurements in Vidur's format.
//!
//! Of all rows those are taken that Vidur itself would train on (heads, widths, vocabulary, block
//! size, workers), each point's measurements are reduced to the median of their medians, and every
//! tensor-parallel degree is kept for which both GEMM and attention were measured.

mod compute;
mod network;
mod points;
pub(super) mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::hardware::{DeviceSpec, closest_device, find_device, model};
use crate::profile::format::{FORMAT, Profile, Provenance};
use crate::profile::operators::OperatorTables;
use crate::profile::{CheckedWith, ProfileError, file, shipped};

/// What to import; the arguments of `vidur-ecs profile import vidur`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportVidurOptions {
    /// Folder in Vidur's layout: compute/DEVICE/MODEL/{mlp,attention}.csv and
    /// network/NETWORK/{all_reduce,send_recv}.csv
    pub path: PathBuf,
    /// Device, by Vidur's name (a100) or ours (A100-SXM-80G)
    #[arg(long, default_value = "a100")]
    pub device: String,
    /// Model whose operators to import
    #[arg(long, required_unless_present = "network")]
    pub model: Option<String>,
    /// Network whose collectives to import: the name of its folder
    #[arg(long)]
    pub network: Option<String>,
    /// Tokens per KV block of the attention measurements
    #[arg(long, default_value_t = 16)]
    pub block_size: u32,
    /// Vocabulary size in mlp.csv [default: the model's; 32768 for models of 32000]
    #[arg(long)]
    pub vocab_size: Option<u32>,
    /// GEMM measurements, instead of those in the folder
    #[arg(long, value_name = "FILE")]
    pub mlp_file: Option<PathBuf>,
    /// Attention measurements, instead of those in the folder
    #[arg(long, value_name = "FILE")]
    pub attention_file: Option<PathBuf>,
    /// Attention from a device's operator tables, instead of the folder: the name of a shipped
    /// profile (h100-sxm-80g/operators) or a file. For devices whose attention nobody measured in
    /// Vidur's format
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["attention_file", "attention_source",
        "attention_device"])]
    pub attention_operators: Option<String>,
    /// All-reduce measurements, instead of those in the folder
    #[arg(long, value_name = "FILE")]
    pub all_reduce_file: Option<PathBuf>,
    /// Send/receive measurements, instead of those in the folder
    #[arg(long, value_name = "FILE")]
    pub send_recv_file: Option<PathBuf>,
    /// Who measured; written into the profile
    #[arg(long, default_value = "Vidur")]
    pub source: String,
    /// Who measured attention, if someone else
    #[arg(long)]
    pub attention_source: Option<String>,
    /// Device that attention was measured on, if a different one
    #[arg(long)]
    pub attention_device: Option<String>,
    /// What simulated times were checked against; written into the profile
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub checked_against: String,
    /// A model and its GPUs that they were checked for (Llama-2-7B:1); can be given several times
    #[arg(long, value_name = "MODEL:TP", requires = "checked_against")]
    pub checked_with: Vec<CheckedWith>,
    /// Licence of the measurements
    #[arg(long, default_value = "MIT")]
    pub licence: String,
}

/// Computes a profile with the operators of `options.model`, the collectives of `options.network`,
/// or both.
///
/// The result depends on the files and options alone: no date, no path of this machine.
///
/// # Errors
/// Options that name nothing known, a file, column or measurement that is not there, a malformed
/// row (with file and line).
pub fn import_vidur(options: &ImportVidurOptions) -> Result<Profile, ProfileError> {
    let Some(device) = find_device(&options.device) else {
        return Err(unknown("device", &options.device, closest_device(&options.device)));
    };
    let folder = device.vidur_name();
    let mut profile = Profile {
        format: FORMAT,
        device: device.name.to_owned(),
        tool: format!("vidur-ecs {}", env!("CARGO_PKG_VERSION")),
        checked_against: options.checked_against.clone(),
        checked_with: options.checked_with.clone(),
        provenance: Vec::new(),
        model: None,
        network: None,
        operators: None,
        layerwise: None,
    };
    if let Some(name) = &options.model {
        let Some(spec) = model::find(name) else {
            return Err(unknown("model", name, model::closest(name)));
        };
        let data = options
            .path
            .join("compute")
            .join(&folder)
            .join(spec.hugging_face_name().unwrap_or(spec.name.as_ref()));
        let mlp = options.mlp_file.clone().unwrap_or_else(|| data.join("mlp.csv"));
        let attention =
            options.attention_file.clone().unwrap_or_else(|| data.join("attention.csv"));
        // Vidur rounds Llama-2's vocabulary up.
        let vocab =
            options.vocab_size.unwrap_or(if spec.vocab == 32000 { 32768 } else { spec.vocab });
        profile.provenance.push(options.provenance("GEMM", &folder, &[&mlp]));
        if let Some(name) = &options.attention_operators {
            let operators = operators(name, device)?;
            let block_size = options.block_size;
            let (model, sources) =
                compute::read_with_operators(spec, vocab, block_size, &mlp, &operators.tables)?;
            profile.model = Some(model);
            for (covers, source) in ["decode attention", "prefill attention"].iter().zip(sources) {
                profile.provenance.push(operators.provenance(covers, &source));
            }
        } else {
            let model = compute::read(spec, vocab, options.block_size, &mlp, &attention)?;
            profile.model = Some(model);
            let mut entry = options.provenance("attention", &folder, &[&attention]);
            if let Some(source) = &options.attention_source {
                entry.source.clone_from(source);
            }
            if let Some(device) = &options.attention_device {
                entry.device.clone_from(device);
            }
            profile.provenance.push(entry);
        }
    }
    if let Some(name) = &options.network {
        let data = options.path.join("network").join(name);
        let all_reduce =
            options.all_reduce_file.clone().unwrap_or_else(|| data.join("all_reduce.csv"));
        let send_recv =
            options.send_recv_file.clone().unwrap_or_else(|| data.join("send_recv.csv"));
        profile.network = Some(network::read(name, &all_reduce, &send_recv)?);
        profile.provenance.push(options.provenance("network", &folder, &[&all_reduce, &send_recv]));
    }
    if profile.model.is_none() && profile.network.is_none() {
        return Err(ProfileError::Options("name a --model, a --network or both".to_owned()));
    }
    Ok(profile)
}

/// Operator tables that attention is taken from.
struct Operators {
    tables: OperatorTables,
    device: &'static str,
    /// The file, and who measured it under which licence.
    file: String,
    by: String,
    licence: String,
}

/// The operator tables called `name`, which must be those of `device`.
fn operators(name: &str, device: &'static DeviceSpec) -> Result<Operators, ProfileError> {
    let shipped = shipped().iter().find(|shipped| shipped.name == name);
    let (profile, file) = match shipped {
        Some(shipped) => (shipped.load()?, format!("profiles/{name}.ron")),
        None => {
            let path = Path::new(name);
            let file = path.file_name().map_or(name.into(), |file| file.to_string_lossy());
            (file::read(path)?, file.into_owned())
        }
    };
    if profile.device != device.name {
        let message = format!("{name} holds {}'s operators, not {}'s", profile.device, device.name);
        return Err(ProfileError::Options(message));
    }
    let Some(tables) = profile.operators else {
        let message = format!("{name} holds no operators of a device");
        return Err(ProfileError::Options(message));
    };
    let source = profile.provenance.iter().find(|p| p.covers.contains("attention"));
    let by = source.and_then(|p| p.source.split(',').next()).unwrap_or("unknown").to_owned();
    let licence = source.map_or_else(String::new, |p| p.licence.clone());
    Ok(Operators { tables, device: device.name, file, by, licence })
}

impl Operators {
    fn provenance(&self, covers: &str, tables: &str) -> Provenance {
        Provenance {
            covers: covers.to_owned(),
            device: self.device.to_owned(),
            source: format!("{}, {tables}", self.by),
            files: vec![self.file.clone()],
            licence: self.licence.clone(),
        }
    }
}

fn unknown(what: &str, name: &str, closest: Option<&str>) -> ProfileError {
    let hint = closest.map(|closest| format!("; did you mean `{closest}`?")).unwrap_or_default();
    ProfileError::Options(format!("there is no {what} `{name}`{hint}"))
}

impl ImportVidurOptions {
    fn provenance(&self, covers: &str, device: &str, files: &[&Path]) -> Provenance {
        Provenance {
            covers: covers.to_owned(),
            device: device.to_ascii_uppercase(),
            source: self.source.clone(),
            files: files.iter().map(|file| self.relative(file)).collect(),
            licence: self.licence.clone(),
        }
    }

    /// The file's place in the folder, or its bare name if it lies elsewhere.
    fn relative(&self, file: &Path) -> String {
        let name = file.strip_prefix(&self.path).ok().or(file.file_name().map(Path::new));
        name.unwrap_or(file).to_string_lossy().replace('\\', "/")
    }
}

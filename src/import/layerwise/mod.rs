//! Computes a profile from a layerwise bundle of LLMServingSim 2.0: `<HW>/<org>/<model>/<variant>/`
//! with `meta.yaml` and a folder `tp<N>` per tensor-parallel degree.
//!
//! Times are rounded to four significant digits (0.05 % at most, a tenth of what repeated
//! measurements differ by). Of the skew correction only the classes without a prompt chunk are
//! kept: those with one apply to chunks of exactly a measured length, and so to next to no batch;
//! they get the default, as in the original. `skew.csv` is not read: `skew_fit.csv` is made of it.

mod bundle;
mod meta;
mod operators;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;

use crate::hardware::model::ModelSpec;
use crate::hardware::{closest_device, find_device, model};
use crate::profile::format::{FORMAT, Profile, Provenance};
use crate::profile::layerwise::{LayerShape, LayerwiseTables, Straggler};
use crate::profile::{CheckedWith, ProfileError};
use meta::Meta;

/// What to import; the arguments of `vidur-ecs profile import layerwise`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportLayerwiseOptions {
    /// A bundle: the folder with meta.yaml
    pub path: PathBuf,
    /// Device [default: the bundle's]
    #[arg(long)]
    pub device: Option<String>,
    /// Model, if the bundle's is not known by that name
    #[arg(long)]
    pub model: Option<String>,
    /// HuggingFace config.json of the model, if it is not known at all
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub config: Option<PathBuf>,
    /// Tensor-parallel degrees to import [default: all of the bundle]
    #[cfg_attr(
        feature = "cli",
        arg(long = "tensor-parallel", value_name = "N", value_delimiter = ',')
    )]
    pub tensor_parallel: Vec<u32>,
    /// The bound that the longest sequence sets on attention, which is not in a bundle:
    /// requests x KV heads from which it applies, microseconds, microseconds per token
    #[arg(long, value_name = "HEADS,US,US_PER_TOKEN", value_parser = straggler)]
    pub straggler: Option<Straggler>,
    /// Where that bound comes from
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "TEXT", requires = "straggler", default_value = "the user")
    )]
    pub straggler_source: String,
    /// Operators of the device, for any model (Measured(composition: Full)), instead of the model's
    /// layers
    #[arg(long, conflicts_with = "straggler")]
    pub operators: bool,
    /// Who measured; written into the profile
    #[arg(long, default_value = "LLMServingSim 2.0")]
    pub source: String,
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

/// Computes a profile from the bundle at `options.path`.
///
/// The result depends on the files and options alone: no date, no path of this machine.
///
/// # Errors
/// Options that name nothing known, a file, column or measurement that is not there, a malformed
/// row (with file and line), tables that contradict each other.
pub fn import_layerwise(options: &ImportLayerwiseOptions) -> Result<Profile, ProfileError> {
    let meta = Meta::read(&options.path.join("meta.yaml"))?;
    let name = options.device.as_ref().unwrap_or(&meta.hardware);
    let Some(device) = find_device(name) else {
        return Err(unknown("device", name, closest_device(name)));
    };
    let model = options.model(&meta)?;
    let degrees = if options.tensor_parallel.is_empty() {
        &meta.tp_degrees
    } else {
        &options.tensor_parallel
    };
    let mut ranks = Vec::new();
    let mut files = vec!["meta.yaml".to_owned()];
    for &degree in degrees {
        ranks.push(bundle::read_rank(&options.path, degree, &meta, &mut files)?);
    }
    let folder = format!("{}/{}/{}", meta.hardware, meta.model, meta.variant);
    let mut provenance = vec![Provenance {
        covers: "layers".to_owned(),
        device: meta.gpu.clone(),
        source: options.source.clone(),
        files: files.into_iter().map(|file| format!("{folder}/{file}")).collect(),
        licence: options.licence.clone(),
    }];
    if options.straggler.is_some() {
        provenance.push(Provenance {
            covers: "longest sequence".to_owned(),
            device: meta.gpu.clone(),
            source: options.straggler_source.clone(),
            files: Vec::new(),
            licence: options.licence.clone(),
        });
    }
    let layers = LayerwiseTables {
        model: model.name.to_string(),
        variant: meta.variant.clone(),
        engine: format!("vLLM {}", meta.vllm_version),
        block_size: meta.engine_effective.block_size,
        shape: LayerShape::of(&model),
        straggler: options.straggler,
        ranks,
    };
    if options.operators {
        if meta.variant != "bf16" {
            let message = format!("operators are read from layers in bf16, not {}", meta.variant);
            return Err(ProfileError::Options(message));
        }
        operators::describe(&mut provenance, &model, &layers);
    }
    let (operators, layerwise) = match options.operators {
        true => (Some(operators::operators(&model, device, &layers)), None),
        false => (None, Some(layers)),
    };
    let profile = Profile {
        format: FORMAT,
        device: device.name.to_owned(),
        tool: format!("vidur-ecs {}", env!("CARGO_PKG_VERSION")),
        checked_against: options.checked_against.clone(),
        checked_with: options.checked_with.clone(),
        provenance,
        model: None,
        operators,
        network: None,
        layerwise,
    };
    profile.checked(&options.path.display().to_string())
}

impl ImportLayerwiseOptions {
    fn model<'a>(&self, meta: &Meta) -> Result<Cow<'a, ModelSpec>, ProfileError> {
        if let Some(config) = &self.config {
            let spec = ModelSpec::from_hf_config(config, &[])
                .map_err(|error| ProfileError::Options(error.title))?;
            return Ok(Cow::Owned(ModelSpec { name: meta.model.clone().into(), ..spec }));
        }
        let name = self.model.as_ref().unwrap_or(&meta.model);
        match model::find(name) {
            Some(spec) => Ok(Cow::Borrowed(spec)),
            None => Err(unknown("model", name, model::closest(name))),
        }
    }
}

fn unknown(what: &str, name: &str, closest: Option<&str>) -> ProfileError {
    let hint = closest.map(|closest| format!("; did you mean `{closest}`?")).unwrap_or_default();
    ProfileError::Options(format!("there is no {what} `{name}`{hint}"))
}

/// `HEADS,US,US_PER_TOKEN`.
#[cfg(feature = "cli")]
fn straggler(text: &str) -> Result<Straggler, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let wrong = || format!("`{text}` is no HEADS,US,US_PER_TOKEN, such as 301,15,0.0616");
    let [heads, us, us_per_token] = parts[..] else { return Err(wrong()) };
    let time = |text: &str| {
        text.parse::<f64>().ok().filter(|us| us.is_finite() && *us >= 0.0).ok_or_else(wrong)
    };
    Ok(Straggler {
        from_heads: heads.parse().map_err(|_| wrong())?,
        us: time(us)?,
        us_per_token: time(us_per_token)?,
    })
}

//! `Measured(...)`: its settings, their checks and what they name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::predictor::MeasuredPredictor;
use crate::base::{SettingError, suggest};
use crate::profile;
use crate::profile::format::{NetworkTables, Shape};
use crate::profile::{Profile, Shipped};
use crate::timing::full::build_full;
use crate::timing::{FullSettings, Predictor, TimingContext, TimingSettings, check_network};

/// How the time of a batch is composed from those of its operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Composition {
    /// As Vidur does: the blocks' operators one after the other, attention by the mean context and
    /// by a sum of squares of the chunks; no embedding, LM head, sampling or CPU time.
    Vidur,
    /// One pass of all operators of any model, from a device's tables: embedding, LM head,
    /// sampling, prompts each by its own length and context.
    Full,
}

/// `Measured(composition: Vidur)`: execution times from a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredSettings {
    /// How operators add up.
    pub composition: Composition,
    /// A shipped profile's name, or a file. Default: the shipped one for device and model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A shipped network's name, or a file. Default: the cluster's, then the device's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Contexts are rounded up to a multiple of this many tokens before attention is looked up.
    #[serde(default = "defaults::kv_granularity")]
    pub kv_granularity: u32,
    /// Share by which decode attention of more than one request takes longer, under GQA.
    #[serde(default = "defaults::batching_overhead")]
    pub attention_decode_batching_overhead_fraction: f64,
    /// Share by which prefill attention of more than one chunk takes longer, under GQA.
    #[serde(default = "defaults::batching_overhead")]
    pub attention_prefill_batching_overhead_fraction: f64,
    /// Milliseconds to launch a collective.
    #[serde(default = "defaults::nccl_launch")]
    pub nccl_cpu_launch_overhead_ms: f64,
    /// Milliseconds of a collective per device^1.25, for workers that arrive late.
    #[serde(default)]
    pub nccl_cpu_skew_overhead_per_device_ms: f64,
    /// Must be true: profiles hold no CPU times.
    #[serde(default = "defaults::skip_cpu")]
    pub skip_cpu_overhead_modeling: bool,
    /// Under `Full`: milliseconds per step and stage in which the GPU waits for the CPU
    /// ([`FullSettings::overhead_ms`]). Default: the policy's
    /// ([`crate::engine::policy::Policy::step_overhead_ms`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ms: Option<f64>,
    /// Under `Full`: how much slower a decode batch of unequal contexts is
    /// ([`FullSettings::decode_skew`]). Default 0.06.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_skew: Option<f64>,
}

mod defaults {
    pub(super) fn kv_granularity() -> u32 {
        64
    }
    pub(super) fn batching_overhead() -> f64 {
        0.1
    }
    pub(super) fn nccl_launch() -> f64 {
        0.02
    }
    pub(super) fn skip_cpu() -> bool {
        true
    }
}

impl Default for MeasuredSettings {
    /// Vidur's composition and defaults.
    fn default() -> MeasuredSettings {
        MeasuredSettings {
            composition: Composition::Vidur,
            profile: None,
            network: None,
            kv_granularity: defaults::kv_granularity(),
            attention_decode_batching_overhead_fraction: defaults::batching_overhead(),
            attention_prefill_batching_overhead_fraction: defaults::batching_overhead(),
            nccl_cpu_launch_overhead_ms: defaults::nccl_launch(),
            nccl_cpu_skew_overhead_per_device_ms: 0.0,
            skip_cpu_overhead_modeling: defaults::skip_cpu(),
            overhead_ms: None,
            decode_skew: None,
        }
    }
}

impl TimingSettings for MeasuredSettings {
    const NAME: &'static str = "Measured";
    const ABOUT: &'static str =
        "measured kernel times of a profile, composed as Vidur does or in full";

    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        self.check()?;
        if let Some(network) = &self.network {
            check_network("network", network, context.base_dir)?;
        }
        if self.composition == Composition::Full {
            return self.build_full(context);
        }
        if context.model.quantized() {
            let found = match context.model.weights.quantized() {
                true => "Vidur for a model with quantised weights",
                false => "Vidur for a quantised KV cache",
            };
            return Err(SettingError::new("composition", found, "Full")
                .help("profiles in Vidur's format are of half precision"));
        }
        if !context.model.is_uniform() {
            let found = "Vidur for a model with layers of different kinds";
            return Err(SettingError::new("composition", found, "Full")
                .help("profiles in Vidur's format are of layers that are all alike"));
        }
        let profile = self.load_profile(context)?;
        let network = self.load_network(context, &profile)?;
        let predictor = MeasuredPredictor::new(self, context, &profile, network.as_ref())?;
        Ok(Arc::new(predictor))
    }
}

impl MeasuredSettings {
    fn build_full(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        let profile = match &self.profile {
            Some(name) => load("profile", name, context)?,
            None => match profile::shipped_operators(context.device.name) {
                Some(shipped) => shipped_profile("profile", shipped, context)?,
                None => {
                    let wanted = format!("operators of {}", context.device.name);
                    let help = format!(
                        "no operators of it are shipped ({}); name a file, or use `Roofline()` for \
                         an estimate",
                        shipped_names()
                    );
                    return Err(SettingError::new("profile", "missing", wanted).help(help));
                }
            },
        };
        if profile.device != context.device.name {
            let wanted = format!("a profile of {}", context.device.name);
            return Err(SettingError::new("profile", profile.about(), wanted));
        }
        // A device's tables hold its collectives; only what the scenario names replaces these.
        let named = self.network.as_deref().or(context.network);
        let network = match named.filter(|_| context.parallel.gpus() > 1) {
            Some(_) => self.load_network(context, &profile)?.map(|(network, _)| network),
            None => None,
        };
        let settings = FullSettings {
            overhead_ms: self.overhead_ms.unwrap_or(context.step_overhead_ms),
            decode_skew: self.decode_skew.unwrap_or(FullSettings::DECODE_SKEW),
        };
        build_full(settings, context, &profile, network.as_ref())
    }

    fn check(&self) -> Result<(), SettingError> {
        self.check_composition()?;
        for (name, value) in [
            (
                "attention_decode_batching_overhead_fraction",
                self.attention_decode_batching_overhead_fraction,
            ),
            (
                "attention_prefill_batching_overhead_fraction",
                self.attention_prefill_batching_overhead_fraction,
            ),
            ("nccl_cpu_launch_overhead_ms", self.nccl_cpu_launch_overhead_ms),
            ("nccl_cpu_skew_overhead_per_device_ms", self.nccl_cpu_skew_overhead_per_device_ms),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(SettingError::new(name, value, "a number, 0 or more"));
            }
        }
        if self.kv_granularity == 0 {
            return Err(SettingError::new("kv_granularity", 0, "at least 1 token"));
        }
        if !self.skip_cpu_overhead_modeling {
            return Err(SettingError::new("skip_cpu_overhead_modeling", false, "true")
                .help("profiles hold no measurements of CPU time"));
        }
        Ok(())
    }

    /// Whether every setting that is given has a meaning under the composition.
    fn check_composition(&self) -> Result<(), SettingError> {
        let default = MeasuredSettings::default();
        let full = self.composition == Composition::Full;
        let nccl_skew = self.nccl_cpu_skew_overhead_per_device_ms;
        let given = [
            ("overhead_ms", !full && self.overhead_ms.is_some()),
            ("decode_skew", !full && self.decode_skew.is_some()),
            ("kv_granularity", full && self.kv_granularity != default.kv_granularity),
            (
                "attention_decode_batching_overhead_fraction",
                full && self.attention_decode_batching_overhead_fraction
                    != default.attention_decode_batching_overhead_fraction,
            ),
            (
                "attention_prefill_batching_overhead_fraction",
                full && self.attention_prefill_batching_overhead_fraction
                    != default.attention_prefill_batching_overhead_fraction,
            ),
            (
                "nccl_cpu_launch_overhead_ms",
                full && self.nccl_cpu_launch_overhead_ms != default.nccl_cpu_launch_overhead_ms,
            ),
            ("nccl_cpu_skew_overhead_per_device_ms", full && nccl_skew != 0.0),
        ];
        let Some((setting, _)) = given.into_iter().find(|(_, given)| *given) else {
            return Ok(());
        };
        let (this, other) = if full { ("Full", "Vidur") } else { ("Vidur", "Full") };
        let found = format!("given under composition {this}");
        Err(SettingError::new(setting, found, "no such setting, as it would change nothing")
            .help(format!("leave it out, or take composition: {other}")))
    }

    /// The profile named, or the shipped one that fits.
    fn load_profile(&self, context: &TimingContext) -> Result<Arc<Profile>, SettingError> {
        let Some(name) = &self.profile else {
            return shipped_for(context);
        };
        let profile = load("profile", name, context)?;
        let wanted = format!("a profile of {} on {}", context.model.name, context.device.name);
        match &profile.model {
            Some(model)
                if model.shape == shape(context) && profile.device == context.device.name =>
            {
                Ok(profile)
            }
            _ => Err(SettingError::new("profile", format!("`{name}`"), wanted)
                .help(format!("it holds {}", profile.about()))),
        }
    }

    /// The network's tables, if the replica has more than one GPU.
    fn load_network(
        &self,
        context: &TimingContext,
        profile: &Arc<Profile>,
    ) -> Result<Option<(NetworkTables, Arc<Profile>)>, SettingError> {
        if context.parallel.gpus() <= 1 {
            return Ok(None);
        }
        let named = self.network.as_deref().or(context.network);
        if let Some(network) = &profile.network
            && named.is_none_or(|name| name == network.name)
        {
            return Ok(Some((network.clone(), profile.clone())));
        }
        let Some(name) = named.or(context.device.default_network) else {
            return Err(SettingError::new("network", "missing", "the name of a network or a file")
                .help(shipped_names()));
        };
        let source = match profile::shipped_network(name) {
            Some(shipped) => shipped_profile("network", shipped, context)?,
            None => load("network", name, context)?,
        };
        match source.network.clone() {
            Some(network) => Ok(Some((network, source))),
            None => Err(SettingError::new("network", format!("`{name}`"), "a network's profile")
                .help(format!("it holds {}", source.about()))),
        }
    }
}

/// The shape that times depend on.
fn shape(context: &TimingContext) -> Shape {
    let model = context.model;
    Shape {
        hidden: model.hidden,
        q_heads: model.q_heads,
        kv_heads: model.kv_heads,
        intermediate: model.intermediate,
        gated_mlp: model.gated_mlp,
    }
}

/// A shipped profile by its name, or a file relative to the scenario.
pub(in crate::timing) fn load(
    setting: &str,
    name: &str,
    context: &TimingContext,
) -> Result<Arc<Profile>, SettingError> {
    if let Some(shipped) = profile::shipped().iter().find(|shipped| shipped.name == name) {
        return shipped_profile(setting, shipped, context);
    }
    let path = context.base_dir.join(name);
    if !path.exists() {
        let expected = "the name of a shipped profile or an existing file";
        let error = SettingError::new(setting, format!("`{name}`"), expected);
        let names = profile::shipped().iter().map(|shipped| shipped.name);
        return Err(error.help(match suggest::closest(name, names) {
            Some(near) => format!("did you mean `{near}`? {}", shipped_names()),
            None => shipped_names(),
        }));
    }
    context.tables.file(&path).map_err(|error| unreadable(setting, name, &error))
}

/// A shipped profile.
pub(in crate::timing) fn shipped_profile(
    setting: &str,
    shipped: &'static Shipped,
    context: &TimingContext,
) -> Result<Arc<Profile>, SettingError> {
    context.tables.shipped(shipped).map_err(|error| unreadable(setting, shipped.name, &error))
}

fn unreadable(setting: &str, name: &str, error: &profile::ProfileError) -> SettingError {
    SettingError::new(setting, format!("`{name}`"), "a profile").help(error.to_string())
}

/// Where to find what can be written instead.
pub(in crate::timing) fn shipped_names() -> String {
    "`vidur-ecs profile list` shows the shipped profiles".to_owned()
}

/// The shipped profile of the device whose shape is the model's.
fn shipped_for(context: &TimingContext) -> Result<Arc<Profile>, SettingError> {
    let folder = format!("{}/", context.device.name.to_ascii_lowercase());
    // Layers and operators of a device are large, and of no use here.
    let models = profile::shipped().iter().filter(|shipped| {
        shipped.name.strip_prefix(&folder).is_some_and(|name| {
            !["network-", "layers-", "operators"].iter().any(|other| name.starts_with(other))
        })
    });
    for shipped in models {
        let profile = shipped_profile("profile", shipped, context)?;
        if profile.model.as_ref().is_some_and(|model| model.shape == shape(context)) {
            return Ok(profile);
        }
    }
    let wanted = format!("one of {} on {}", context.model.name, context.device.name);
    let help = format!(
        "no profile of it is shipped ({}); name a file written by `vidur-ecs profile import`",
        shipped_names()
    );
    Err(SettingError::new("profile", "missing", wanted).help(help))
}

//! `Layerwise(...)`: its settings and their checks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::predictor::LayerwisePredictor;
use super::source;
use crate::base::SettingError;
use crate::timing::{Predictor, TimingContext, TimingSettings, check_network};

/// `Layerwise()`: execution times from the measured layers of the model itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerwiseSettings {
    /// A shipped profile's name, or a file. Default: the shipped one for device and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A shipped network's name, or a file, for all-reduce and transfers between stages. Default:
    /// the cluster's, then the device's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// All-reduce by a closed form, instead of the network's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_reduce: Option<LinkSettings>,
    /// Transfer from stage to stage by a closed form, instead of the network's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_recv: Option<LinkSettings>,
    /// Milliseconds per step that the GPU waits for the CPU: scheduling and launches. Default: the
    /// policy's ([`crate::engine::policy::Policy::step_overhead_ms`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overhead_ms: Option<f64>,
    /// Tokens of the largest CUDA graph that the engine captures; batches up to it are padded to
    /// the next captured size (1, 2, 4, then every 8th to 256, every 16th beyond: vLLM's default).
    /// 0 for an engine without graphs.
    pub graph_tokens: u32,
    /// The bound that the longest sequence sets to decode attention.
    pub straggler: StragglerSetting,
}

/// A message takes `latency_us` + bytes / `gbps`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSettings {
    /// Microseconds, whatever the size.
    pub latency_us: f64,
    /// Bandwidth in 10^9 bytes/s: that which the whole operation reaches on the message's size.
    pub gbps: f64,
}

/// The bound that the longest sequence sets to decode attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum StragglerSetting {
    /// As the profile says.
    #[default]
    Profile,
    /// None.
    Off,
    /// This bound.
    Bound {
        /// Requests x KV heads per GPU from which on sequences are not split.
        from_heads: u32,
        /// Microseconds, whatever the length.
        us: f64,
        /// Microseconds per token in the KV cache of the longest sequence.
        us_per_token: f64,
    },
}

impl Default for LayerwiseSettings {
    fn default() -> LayerwiseSettings {
        LayerwiseSettings {
            profile: None,
            network: None,
            all_reduce: None,
            send_recv: None,
            overhead_ms: None,
            graph_tokens: 512,
            straggler: StragglerSetting::Profile,
        }
    }
}

impl TimingSettings for LayerwiseSettings {
    const NAME: &'static str = "Layerwise";
    const ABOUT: &'static str = "the model's own layers, measured kernel by kernel in vLLM";

    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        self.check()?;
        if let Some(network) = &self.network {
            check_network("network", network, context.base_dir)?;
        }
        let profile = source::profile(self, context)?;
        let network = source::network(self, context)?;
        Ok(Arc::new(LayerwisePredictor::new(self, context, &profile, network.as_deref())?))
    }
}

impl LayerwiseSettings {
    fn check(&self) -> Result<(), SettingError> {
        let at_least_zero = |name: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(SettingError::new(name, value, "a number, 0 or more")),
        };
        at_least_zero("overhead_ms", self.overhead_ms.unwrap_or(0.0))?;
        for (name, link) in [("all_reduce", self.all_reduce), ("send_recv", self.send_recv)] {
            let Some(link) = link else { continue };
            at_least_zero(&format!("{name}.latency_us"), link.latency_us)?;
            if !(link.gbps.is_finite() && link.gbps > 0.0) {
                return Err(SettingError::new(format!("{name}.gbps"), link.gbps, "above 0"));
            }
        }
        if let StragglerSetting::Bound { us, us_per_token, .. } = self.straggler {
            at_least_zero("straggler.us", us)?;
            at_least_zero("straggler.us_per_token", us_per_token)?;
        }
        Ok(())
    }
}

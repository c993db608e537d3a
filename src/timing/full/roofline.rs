//! `Roofline`: operators from a device's data sheet.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attention::Kind;
use super::basis::Cost;
use super::collective::Transfer;
use super::estimate::Sheet;
use super::measured::FullSettings;
use super::pass::{PerBatch, PerCount};
use super::predictor::{ComposedPredictor, Seen};
use super::speed::{Experts, Heads, Speed};
use super::weight_only::{Product, WeightOnly};
use super::{OperatorSource, Pass};
use crate::base::SettingError;
use crate::hardware::DeviceSpec;
use crate::hardware::model::Weights;
use crate::profile::operators::Peak;
use crate::timing::{Predictor, TimingContext, TimingNote, TimingSettings};

/// What share of a data sheet's figures a kind of operator reaches: its time is
///
/// ```text
/// launch + ((flops / (peak x compute))^s + (bytes / (bandwidth x memory))^s)^(1/s)
/// ```
///
/// with `s` the sharpness of the bend between the two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiency {
    /// Share of the peak compute.
    pub compute: f64,
    /// Share of the peak memory bandwidth.
    pub memory: f64,
    /// Microseconds that each call takes beside.
    pub launch_us: f64,
    /// Sharpness of the bend.
    pub sharpness: f64,
}

impl Efficiency {
    pub(super) fn us(&self, [compute, memory]: [f64; 2]) -> f64 {
        let (compute, memory) = (compute / self.compute, memory / self.memory);
        let (small, large) = (compute.min(memory), compute.max(memory));
        if large <= 0.0 {
            return self.launch_us;
        }
        // As in the formula, without overflow.
        let bend = (1.0 + (small / large).powf(self.sharpness)).powf(1.0 / self.sharpness);
        self.launch_us + large * bend
    }
}

impl Efficiency {
    /// Shares above 0 and at most 1, a time, and a bend.
    fn check(&self) -> Result<(), SettingError> {
        share("compute", self.compute)?;
        share("memory", self.memory)?;
        launch(self.launch_us)?;
        if !(self.sharpness >= 1.0 && self.sharpness.is_finite()) {
            return Err(SettingError::new("sharpness", self.sharpness, "a number, 1 or more"));
        }
        Ok(())
    }
}

fn share(name: &str, share: f64) -> Result<(), SettingError> {
    match share > 0.0 && share <= 1.0 {
        true => Ok(()),
        false => Err(SettingError::new(name, share, "above 0 and at most 1")),
    }
}

fn launch(us: f64) -> Result<(), SettingError> {
    match us.is_finite() && us >= 0.0 {
        true => Ok(()),
        false => Err(SettingError::new("launch_us", us, "microseconds, 0 or more")),
    }
}

/// What share of a link a collective reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkEfficiency {
    /// Share of the link's bandwidth.
    pub bandwidth: f64,
    /// Microseconds that each call takes beside.
    pub launch_us: f64,
}

/// The efficiencies of all operators.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Efficiencies {
    /// Matrix products.
    pub gemm: Efficiency,
    /// Attention of prompts.
    pub prefill: Efficiency,
    /// Attention of decoding requests.
    pub decode: Efficiency,
    /// Experts.
    pub experts: Efficiency,
    /// All-reduce over NVLink.
    pub nvlink: LinkEfficiency,
    /// All-reduce over PCIe.
    pub pcie: LinkEfficiency,
    /// Matrix products and experts with packed weights, of what those of 16 bits reach.
    #[serde(default)]
    pub weight_only: WeightOnly,
}

impl Efficiencies {
    /// Whether every operator takes a finite time.
    fn check(&self) -> Result<(), SettingError> {
        for (name, efficiency) in [
            ("gemm", &self.gemm),
            ("prefill", &self.prefill),
            ("decode", &self.decode),
            ("experts", &self.experts),
        ] {
            efficiency.check().map_err(|error| error.within(name))?;
        }
        for (name, link) in [("nvlink", &self.nvlink), ("pcie", &self.pcie)] {
            let checked = share("bandwidth", link.bandwidth).and_then(|()| launch(link.launch_us));
            checked.map_err(|error| error.within(name))?;
        }
        self.weight_only.check().map_err(|error| error.within("weight_only"))
    }

    /// Calibrated on all devices with shipped operator tables (`calibrate` finds these values; a
    /// test holds them against it).
    pub const CALIBRATED: Efficiencies = Efficiencies {
        gemm: Efficiency { compute: 0.778, memory: 0.819, launch_us: 3.13, sharpness: 2.55 },
        prefill: Efficiency { compute: 0.53, memory: 0.777, launch_us: 14.07, sharpness: 1.0 },
        decode: Efficiency { compute: 0.0312, memory: 0.861, launch_us: 11.44, sharpness: 8.0 },
        experts: Efficiency { compute: 0.619, memory: 0.886, launch_us: 21.89, sharpness: 1.0 },
        nvlink: LinkEfficiency { bandwidth: 0.57, launch_us: 5.96 },
        pcie: LinkEfficiency { bandwidth: 0.347, launch_us: 13.74 },
        weight_only: WeightOnly::ASSUMED,
    };
}

/// Links of more than this many 10^9 bytes/s are NVLink.
pub(super) const NVLINK_GBPS: f64 = 100.0;

/// 10^9 bytes/s between nodes: one 400 Gb/s adapter per GPU.
const BETWEEN_NODES_GBPS: f64 = 50.0;

/// What `device` can do at best, by its data sheet.
pub(crate) fn peak(device: &DeviceSpec) -> Peak {
    Peak {
        bf16_tflops: device.fp16_tflops,
        fp8_tflops: if device.fp8 { 2.0 * device.fp16_tflops } else { 0.0 },
        memory_gbps: device.hbm_gbps,
        intra_node_gbps: device.link_gbps,
        inter_node_gbps: BETWEEN_NODES_GBPS,
        gpus_per_node: 8,
    }
}

/// Operators from a data sheet.
pub(super) struct RooflineOperators {
    speed: Speed,
    peak: Peak,
    efficiencies: Efficiencies,
}

impl RooflineOperators {
    pub(super) fn new(device: &DeviceSpec, efficiencies: Efficiencies) -> RooflineOperators {
        RooflineOperators::of(peak(device), efficiencies)
    }

    /// From a data sheet's figures.
    pub(super) fn of(peak: Peak, efficiencies: Efficiencies) -> RooflineOperators {
        RooflineOperators { speed: Speed::new(&peak), peak, efficiencies }
    }
}

/// All-reduce in microseconds: `2 (p - 1) / p` of the message passes each GPU's link.
pub(super) fn all_reduce_us(
    efficiency: &LinkEfficiency,
    link_gbps: f64,
    gpus: u32,
    bytes: f64,
) -> f64 {
    let traffic = 2.0 * f64::from(gpus - 1) / f64::from(gpus) * bytes;
    efficiency.launch_us + traffic / (link_gbps * 1e3 * efficiency.bandwidth)
}

impl OperatorSource for RooflineOperators {
    fn gemm(&mut self, weights: Weights, n: u32, k: u32) -> Result<PerCount, String> {
        let (speed, efficiency) = (self.speed, self.efficiencies.gemm);
        let weight_only = self.efficiencies.weight_only;
        let (n, k) = (f64::from(n), f64::from(k));
        Ok(match Product::of(weights, self.peak.fp8_tflops > 0.0) {
            Product::Native(dtype) => {
                Box::new(move |m| Cost::transferred(efficiency.us(speed.gemm(dtype, m, n, k))))
            }
            Product::WeightOnly(bytes) => Box::new(move |m| {
                let least = weight_only.reached(speed.weight_only(bytes, m, n, k));
                Cost::transferred(efficiency.us(least))
            }),
        })
    }

    fn attention(&mut self, kind: Kind, heads: Heads) -> Result<PerBatch, String> {
        let speed = self.speed;
        let Efficiencies { prefill, decode, .. } = self.efficiencies;
        Ok(match kind {
            Kind::Prefill => Box::new(move |requests, tokens| {
                Cost::transferred(prefill.us(speed.prefill(&heads, tokens, requests)))
            }),
            Kind::Decode => Box::new(move |requests, context| {
                Cost::transferred(decode.us(speed.decode(&heads, requests, context)))
            }),
        })
    }

    fn experts(&mut self, weights: Weights, shape: Experts) -> Result<PerCount, String> {
        let (speed, efficiency) = (self.speed, self.efficiencies.experts);
        let weight_only = self.efficiencies.weight_only;
        Ok(match Product::of(weights, self.peak.fp8_tflops > 0.0) {
            Product::Native(dtype) => {
                let shape = Experts { dtype, ..shape };
                let us = move |tokens| efficiency.us(speed.experts(&shape, tokens));
                Box::new(move |tokens| Cost::transferred(us(tokens)))
            }
            Product::WeightOnly(bytes) => Box::new(move |tokens| {
                let least = weight_only.reached(speed.experts_of(bytes, &shape, tokens));
                Cost::transferred(efficiency.us(least))
            }),
        })
    }

    fn all_reduce(&mut self, gpus: u32) -> Result<PerCount, String> {
        let within = gpus <= self.peak.gpus_per_node;
        let link = if within { self.peak.intra_node_gbps } else { self.peak.inter_node_gbps };
        let fast = within && link > NVLINK_GBPS;
        let efficiency = if fast { self.efficiencies.nvlink } else { self.efficiencies.pcie };
        Ok(Box::new(move |bytes| Cost::transferred(all_reduce_us(&efficiency, link, gpus, bytes))))
    }

    fn transfer(&mut self, gpus: u32) -> Result<Transfer, String> {
        Ok(Transfer::link(&self.peak, gpus))
    }

    fn sheet(&self) -> Sheet {
        Sheet { speed: self.speed, efficiencies: self.efficiencies }
    }

    fn note_estimate(&mut self, _: &str) {
        // All of it is.
    }

    fn memory(&self) -> f64 {
        self.speed.memory
    }

    fn most_rows(&self) -> f64 {
        f64::INFINITY
    }
}

/// `Roofline()`: any model on any device, without measurements of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RooflineSettings {
    /// Milliseconds per step and stage in which the GPU waits for the CPU. Default: the policy's
    /// ([`crate::engine::policy::Policy::step_overhead_ms`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ms: Option<f64>,
    /// Skew as in [`FullSettings::decode_skew`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_skew: Option<f64>,
    /// Efficiencies in place of the calibrated ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efficiencies: Option<Efficiencies>,
}

impl TimingSettings for RooflineSettings {
    const NAME: &'static str = "Roofline";
    const ABOUT: &'static str =
        "an ESTIMATE from the device's data sheet, for any model and device";

    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        let decode_skew = self.decode_skew.unwrap_or(FullSettings::DECODE_SKEW);
        let overhead_ms = self.overhead_ms.unwrap_or(context.step_overhead_ms);
        FullSettings { overhead_ms, decode_skew }.check()?;
        let efficiencies = self.efficiencies.unwrap_or(Efficiencies::CALIBRATED);
        efficiencies.check().map_err(|error| error.within("efficiencies"))?;
        let mut source = RooflineOperators::new(context.device, efficiencies);
        let pass = Pass::new(&mut source, context.model, context.parallel)
            .map_err(|why| SettingError::new("", why, "operators of the model"))?;
        let device = context.device;
        let fp8 = peak(device).fp8_tflops > 0.0;
        let packed = match Product::of(context.model.weights, fp8) {
            Product::Native(_) => String::new(),
            Product::WeightOnly(_) => format!(
                "; {} weights unpacked at {}",
                context.model.weights.label(),
                efficiencies.weight_only.about()
            ),
        };
        let calibrated = match self.efficiencies {
            None => "efficiencies calibrated on the devices with measured operators",
            Some(_) => "efficiencies as set",
        };
        let note = TimingNote {
            rests_on: format!(
                "an ESTIMATE: the data sheet of {} ({} TFLOP/s, {} GB/s), {calibrated}{packed}",
                device.name, device.fp16_tflops, device.hbm_gbps
            ),
            not_modelled: format!(
                "this device's kernels, CPU and launch gaps beyond overhead_ms \
                 ({overhead_ms} ms per step), HTTP beyond api_overhead_ms"
            ),
            checked_against:
                "no real engine; Measured(composition: Full) of devices left out of the calibration"
                    .to_owned(),
            physical: true,
            estimate: true,
        };
        Ok(Arc::new(ComposedPredictor {
            pass: Arc::new(pass),
            overhead_us: overhead_ms * 1e3,
            decode_skew,
            note,
            mismatches: vec![format!(
                "execution times are an estimate from {}'s data sheet, not measured",
                device.name
            )],
            seen: Seen::default(),
        }))
    }
}

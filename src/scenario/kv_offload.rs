//! Host memory for KV blocks, from its settings to what a run needs:
//! `engine: (kv_offload: (host_gib: 64.0, pcie_gb_per_s: 25.0), preemption_mode: Swap)`.

use serde::{Deserialize, Serialize};

use super::pool::PoolConfig;
use super::raw::RawEngine;
use crate::base::{GIB, Nanos, SettingError};
use crate::engine::policy::EngineLimits;
use crate::engine::state::kv::{HostMemory, Reload};
use crate::hardware::Parallelism;

/// More blocks than any host holds.
const MOST_BLOCKS: f64 = (1_u32 << 30) as f64;

/// What a request that is preempted does with what it computed (vLLM V0's `preemption_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreemptionMode {
    /// Computes it again.
    #[default]
    Recompute,
    /// Keeps it in host memory, as far as there is room.
    Swap,
}

/// Host memory for KV blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvOffloadSettings {
    /// GiB of host memory per GPU (vLLM's `swap_space`).
    #[serde(default = "four")]
    pub host_gib: f64,
    /// Gigabytes (10^9 bytes) per second between each GPU and the host, each way.
    pub pcie_gb_per_s: f64,
    /// Microseconds that the copies of a step in one direction take beside.
    #[serde(default)]
    pub latency_us: f64,
    /// Whether evicted prefixes go to host memory and come back; `Always` with prefix caching and
    /// `Never` without, if absent.
    pub reload: Option<Reload>,
}

fn four() -> f64 {
    4.0
}

/// Host memory of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KvOffload {
    /// What the scenario says, with every default.
    pub settings: KvOffloadSettings,
    /// What a run needs.
    pub memory: HostMemory,
}

impl KvOffload {
    /// How requests are preempted.
    pub fn preemption_mode(&self) -> PreemptionMode {
        if self.memory.swap { PreemptionMode::Swap } else { PreemptionMode::Recompute }
    }
}

/// Checks the settings against each other and the rest. Paths of errors start at the scenario.
pub(super) fn build(
    raw: &RawEngine,
    limits: &EngineLimits,
    prefix_caching: bool,
    parallel: Parallelism,
    bytes_per_token: u64,
) -> Result<Option<KvOffload>, SettingError> {
    let swap = raw.preemption_mode == PreemptionMode::Swap;
    let Some(settings) = &raw.kv_offload else {
        return match swap {
            false => Ok(None),
            true => Err(SettingError::new(
                "engine.preemption_mode",
                "Swap",
                "Recompute, as there is no kv_offload",
            )
            .help("to swap, add kv_offload: (host_gib: 4.0, pcie_gb_per_s: 25.0)")),
        };
    };
    range("pcie_gb_per_s", settings.pcie_gb_per_s, 1e-3, 1e4, "GB/s from 0.001 to 10000")?;
    range("latency_us", settings.latency_us, 0.0, 1e7, "microseconds from 0 to 1e7")?;
    range("host_gib", settings.host_gib, 1e-3, 1e6, "GiB per GPU from 0.001 to 1e6")?;
    let reload = settings.reload.unwrap_or(match prefix_caching {
        true => Reload::Always,
        false => Reload::Never,
    });
    if reload != Reload::Never && !prefix_caching {
        let path = "engine.kv_offload.reload";
        return Err(SettingError::new(
            path,
            format!("{reload:?}"),
            "Never, as prefix caching is off",
        )
        .help("only cached prefixes are offloaded; set enable_prefix_caching: true"));
    }
    if reload == Reload::Never && !swap {
        let found = "unused";
        let expected = "prefix caching with `reload`, or preemption_mode: Swap";
        return Err(SettingError::new("engine.kv_offload", found, expected));
    }
    let bytes_per_block = bytes_per_token * u64::from(limits.block_size);
    let blocks = (settings.host_gib * GIB / bytes_per_block as f64).min(MOST_BLOCKS) as u32;
    if blocks == 0 {
        let expected = format!("room for a KV block of {bytes_per_block} bytes");
        return Err(SettingError::new("engine.kv_offload.host_gib", settings.host_gib, expected));
    }
    let memory = HostMemory {
        blocks,
        bytes_per_block,
        gpus: parallel.gpus(),
        bytes_per_second: settings.pcie_gb_per_s * 1e9,
        latency: Nanos::from_secs_f64(settings.latency_us / 1e6),
        reload,
        swap,
    };
    let settings = KvOffloadSettings { reload: Some(reload), ..*settings };
    Ok(Some(KvOffload { settings, memory }))
}

/// Host memory of a decode side, where no prefixes are cached: only swapped requests go there.
/// `explicit` says whether the scenario itself says what becomes of prefixes.
pub(super) fn without_prefixes(
    decode: &mut PoolConfig,
    explicit: bool,
) -> Result<(), SettingError> {
    let Some(offload) = &mut decode.offload else { return Ok(()) };
    let reload = offload.memory.reload;
    if explicit && reload != Reload::Never {
        let path = "engine.kv_offload.reload";
        let expected = "Never for decode: prefixes are only looked up on the prefill side";
        return Err(SettingError::new(path, format!("{reload:?}"), expected));
    }
    if !offload.memory.swap {
        let expected = "preemption_mode: Swap, as nothing else goes to host memory there";
        return Err(SettingError::new("engine.kv_offload", "unused", expected)
            .help("or give it to `prefill` only"));
    }
    offload.memory.reload = Reload::Never;
    offload.settings.reload = Some(Reload::Never);
    Ok(())
}

fn range(
    name: &str,
    value: f64,
    least: f64,
    most: f64,
    expected: &str,
) -> Result<(), SettingError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(SettingError::new(format!("engine.kv_offload.{name}"), value, expected)),
    }
}

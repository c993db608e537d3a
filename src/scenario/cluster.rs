//! What of a scenario runs: pools of replicas, and what ties them together.

use super::disaggregated::Link;
use super::pool::PoolConfig;
use super::sharing::GpuSharing;
use crate::base::Nanos;
use crate::engine::Extensions;

/// One configuration that runs: a variant, or the scenario itself.
pub struct Configuration {
    /// The variant's name; empty for a scenario without variants.
    pub name: String,
    /// What runs.
    pub cluster: Cluster,
    /// When the run is cut off.
    pub time_limit_s: Option<f64>,
    /// What plug-ins add to its simulations.
    pub extensions: Extensions,
}

impl Configuration {
    /// When the run is cut off.
    pub fn time_limit(&self) -> Option<Nanos> {
        self.time_limit_s.map(Nanos::from_secs_f64)
    }
}

/// Pools of replicas, and what ties them together.
pub struct Cluster {
    /// The pools, at least one: that of the only model, one for each model, or the prefill and the
    /// decode side of one.
    pub pools: Vec<PoolConfig>,
    /// What ties them together.
    pub tie: Tie,
}

/// What ties the pools of a cluster together.
pub enum Tie {
    /// Nothing: there is one pool.
    Single,
    /// They serve different models, on GPUs shared like this.
    Models(GpuSharing),
    /// The first processes prompts and hands its requests over to the second.
    Disaggregated(Link),
}

impl Cluster {
    /// A cluster of one pool.
    pub fn single(pool: PoolConfig) -> Cluster {
        Cluster { pools: vec![pool], tie: Tie::Single }
    }

    /// The first pool, at which requests arrive in every cluster.
    pub fn first(&self) -> &PoolConfig {
        &self.pools[0]
    }

    /// The pools at which requests arrive: those of all models, or the prefill side.
    pub fn entry_pools(&self) -> &[PoolConfig] {
        match self.tie {
            Tie::Disaggregated(_) => &self.pools[..1],
            Tie::Single | Tie::Models(_) => &self.pools,
        }
    }

    /// The prefill side, the decode side and the link between them, if these are apart.
    pub fn sides(&self) -> Option<(&PoolConfig, &PoolConfig, &Link)> {
        match (&self.tie, self.pools.as_slice()) {
            (Tie::Disaggregated(link), [prefill, decode]) => Some((prefill, decode, link)),
            _ => None,
        }
    }

    /// Whether several models are served.
    pub fn has_several_models(&self) -> bool {
        matches!(self.tie, Tie::Models(_)) && self.pools.len() > 1
    }

    /// The pools with names, as expectations and results have them; empty for a single pool.
    pub fn named_pools(&self) -> Vec<(&str, &PoolConfig)> {
        match self.tie {
            Tie::Single => Vec::new(),
            Tie::Models(_) => {
                self.pools.iter().map(|pool| (pool.served_as.as_str(), pool)).collect()
            }
            Tie::Disaggregated(_) => ["prefill", "decode"].into_iter().zip(&self.pools).collect(),
        }
    }

    /// What runs, in a few words: `Llama-2-7B | 1 x A100-SXM-80G | VllmV0`.
    pub fn what(&self) -> String {
        let first = self.first();
        if let Some((_, decode, _)) = self.sides() {
            let (gpus, more) = (first.num_gpus(), decode.num_gpus());
            let (model, device, other) =
                (first.model.label(), first.device.name, decode.device.name);
            let gpus = match device == other {
                true => format!("{gpus} + {more} x {device}"),
                false => format!("{gpus} x {device} + {more} x {other}"),
            };
            let (a, b) = (first.policy.title(), decode.policy.title());
            let policies = if a == b { a } else { format!("{a} + {b}") };
            return format!("{model} | {gpus} | disaggregated {policies}");
        }
        let (Tie::Models(sharing), true) = (&self.tie, self.has_several_models()) else {
            return first.what();
        };
        let models: Vec<String> = self.pools.iter().map(|one| one.model.title()).collect();
        let gpus = self.num_gpus();
        let how = match sharing {
            GpuSharing::Own => "own GPUs",
            GpuSharing::TimeSliced => "time-sliced",
            GpuSharing::Spatial(_) => "spatial",
        };
        format!("{} | {gpus} x {} | {how}", models.join(" + "), first.device.name)
    }

    /// GPUs of all models, or of both sides, together.
    pub fn num_gpus(&self) -> u64 {
        match self.tie {
            // All lie on the same.
            Tie::Models(GpuSharing::TimeSliced | GpuSharing::Spatial(_)) => self.first().num_gpus(),
            _ => self.pools.iter().map(PoolConfig::num_gpus).sum(),
        }
    }

    /// Stages that can run at once.
    pub fn stages(&self) -> u32 {
        match self.tie {
            Tie::Models(GpuSharing::TimeSliced) => self.first().stages(),
            _ => self.pools.iter().map(PoolConfig::stages).sum(),
        }
    }
}

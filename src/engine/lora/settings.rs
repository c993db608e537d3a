//! The settings of LoRA serving, and what a run needs of them.

use serde::{Deserialize, Serialize};

use super::{AdapterCost, AdapterKernels, Module, Popularity, adapter_bytes, deal};
use crate::base::{Nanos, SettingError};
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};
use crate::workload::{Ranks, RequestSource};

/// The most adapters, which bounds the table of their weights.
const MAX_ADAPTERS: u32 = 1 << 20;
/// A higher rank is a slip of the pen.
const MAX_RANK: u32 = 1024;

/// `engine: (lora: (...))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// Number of adapters.
    pub adapters: u32,
    /// Their rank.
    #[serde(default = "sixteen")]
    pub rank: u32,
    /// The linear layers that they change.
    #[serde(default = "all_modules")]
    pub target_modules: Vec<Module>,
    /// How unequally they are wanted.
    #[serde(default)]
    pub popularity: Popularity,
    /// Share of the requests that want the model itself.
    #[serde(default)]
    pub base_share: f64,
    /// Adapters that a GPU has slots for, and most different ones in a batch.
    #[serde(default = "eight")]
    pub max_loras: u32,
    /// Adapters that the host's memory holds; as `max_loras` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu_loras: Option<u32>,
    /// Gigabytes (10^9 bytes) per second from the host to each GPU.
    #[serde(default = "pcie")]
    pub load_gb_per_s: f64,
    /// Gigabytes per second from disk to the host.
    #[serde(default = "disk")]
    pub disk_gb_per_s: f64,
    /// Share of the device's peak FLOPs and bandwidth that the adapters' kernels reach.
    #[serde(default = "half")]
    pub efficiency: f64,
    /// Microseconds of each of their kernels beside.
    #[serde(default = "five")]
    pub kernel_us: f64,
}

fn sixteen() -> u32 {
    16
}

fn all_modules() -> Vec<Module> {
    Module::ALL.to_vec()
}

fn eight() -> u32 {
    8
}

fn pcie() -> f64 {
    25.0
}

fn disk() -> f64 {
    2.0
}

fn half() -> f64 {
    0.5
}

fn five() -> f64 {
    5.0
}

impl LoraSettings {
    /// Complains about settings that make no sense for the model.
    ///
    /// # Errors
    /// The first such setting, its path relative to `lora`.
    pub fn check(&self, model: &ModelSpec) -> Result<(), SettingError> {
        let wrong = |path: &str, found: &dyn std::fmt::Display, expected: &str| {
            Err(SettingError::new(path, found, expected))
        };
        if !(1..=MAX_ADAPTERS).contains(&self.adapters) {
            return wrong("adapters", &self.adapters, &format!("1 to {MAX_ADAPTERS}"));
        }
        if !(1..=MAX_RANK).contains(&self.rank) {
            return wrong("rank", &self.rank, &format!("1 to {MAX_RANK}"));
        }
        let modules = &self.target_modules;
        let twice = |(place, module): (usize, &Module)| modules[..place].contains(module);
        if modules.is_empty() || modules.iter().enumerate().any(twice) {
            let expected = "each module once, such as [Q, V]";
            return wrong("target_modules", &format!("{modules:?}"), expected);
        }
        if model.experts.is_some() && modules.iter().any(|module| module.is_mlp()) {
            let expected = "Q, K, V and O: adapters of experts are not modelled";
            return wrong("target_modules", &format!("{modules:?}"), expected);
        }
        if !model.gated_mlp && modules.contains(&Module::Gate) {
            let expected = format!("no Gate: {} has none", model.name);
            return wrong("target_modules", &format!("{modules:?}"), &expected);
        }
        if let Popularity::Zipf(theta) = self.popularity
            && !(0.0..=10.0).contains(&theta)
        {
            return wrong("popularity", &format!("Zipf({theta})"), "an exponent from 0 to 10");
        }
        if !(0.0..=1.0).contains(&self.base_share) {
            return wrong("base_share", &self.base_share, "a share from 0 to 1");
        }
        if self.max_loras == 0 {
            return wrong("max_loras", &0, "at least 1");
        }
        if self.host() < self.max_loras {
            let expected = format!("at least max_loras, {}", self.max_loras);
            return wrong("max_cpu_loras", &self.host(), &expected);
        }
        for (path, rate) in
            [("load_gb_per_s", self.load_gb_per_s), ("disk_gb_per_s", self.disk_gb_per_s)]
        {
            if !(1e-3..=1e6).contains(&rate) {
                return wrong(path, &rate, "GB/s from 0.001 to 1e6");
            }
        }
        if !(self.efficiency > 0.0 && self.efficiency <= 1.0) {
            return wrong("efficiency", &self.efficiency, "a share above 0 and at most 1");
        }
        if !(0.0..=1e6).contains(&self.kernel_us) {
            return wrong("kernel_us", &self.kernel_us, "microseconds from 0 to 1e6");
        }
        Ok(())
    }

    /// Bytes of all slots on each GPU.
    pub fn slot_bytes(&self, model: &ModelSpec, parallel: Parallelism) -> u64 {
        let one = adapter_bytes(model, parallel, self.rank, &self.target_modules);
        u64::from(self.max_loras).saturating_mul(one)
    }

    /// What a run needs.
    pub fn run(&self, model: &ModelSpec, parallel: Parallelism, device: &DeviceSpec) -> Lora {
        let modules = &self.target_modules;
        let bytes = |parallel| adapter_bytes(model, parallel, self.rank, modules) as f64;
        let alone = Parallelism { tensor: 1, pipeline: 1 };
        let adapters = AdapterKernels {
            rank: self.rank,
            modules,
            efficiency: self.efficiency,
            kernel_us: self.kernel_us,
        };
        Lora {
            max_loras: self.max_loras,
            max_cpu_loras: self.host(),
            load: Nanos::from_secs_f64(bytes(parallel) / (self.load_gb_per_s * 1e9)),
            fetch: Nanos::from_secs_f64(bytes(alone) / (self.disk_gb_per_s * 1e9)),
            cost: AdapterCost::new(&adapters, model, parallel, device),
        }
    }

    /// `source`, its requests dealt out to the adapters under `seed`. `follows` says whether
    /// requests of it follow others, whose adapter they have then.
    pub fn deal(
        &self,
        source: Box<dyn RequestSource>,
        seed: u64,
        follows: bool,
    ) -> Box<dyn RequestSource> {
        let ranks = Ranks::new(self.adapters, self.popularity.theta());
        deal::deal(source, ranks, self.base_share, seed, follows)
    }

    fn host(&self) -> u32 {
        self.max_cpu_loras.unwrap_or(self.max_loras)
    }
}

/// LoRA serving as a run knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lora {
    /// Slots of a GPU.
    pub max_loras: u32,
    /// Adapters that the host's memory holds.
    pub max_cpu_loras: u32,
    /// Time to copy an adapter into a slot: its bytes on a GPU / rate.
    pub load: Nanos,
    /// Time to read one from disk before: all its bytes / rate.
    pub fetch: Nanos,
    /// What the matrix products cost.
    pub cost: AdapterCost,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lora::Adapters;
    use crate::engine::state::request::Sequence;
    use crate::hardware::find_device;
    use crate::hardware::model;

    fn settings(text: &str) -> LoraSettings {
        crate::base::ron_options().from_str(text).unwrap()
    }

    fn run(text: &str) -> Lora {
        let llama = model::find("Llama-2-7B").unwrap();
        let settings = settings(text);
        settings.check(llama).unwrap();
        let alone = Parallelism { tensor: 1, pipeline: 1 };
        settings.run(llama, alone, find_device("A100-SXM-80G").unwrap())
    }

    fn members(adapters: &[u32]) -> Vec<Sequence> {
        let one = |&adapter: &u32| Sequence {
            entity: bevy_ecs::entity::Entity::PLACEHOLDER,
            id: 0,
            arrived_at: Nanos::ZERO,
            last_token_at: Nanos::ZERO,
            execution: Nanos::ZERO,
            prompt: 1,
            target: 2,
            processed: 0,
            blocks: 0,
            tokens: 1,
            priority: 0,
            adapter,
            admission: 0,
            place: 0,
            group: 0,
            prefilled: false,
            started: false,
            has_token: false,
            in_window: true,
        };
        adapters.iter().map(one).collect()
    }

    #[test]
    fn loads_take_their_bytes_over_the_rate() {
        let lora = run("(adapters: 9, rank: 16, target_modules: [Q, V], max_loras: 2, \
                         max_cpu_loras: 3, load_gb_per_s: 16.777216, disk_gb_per_s: 1.6777216)");
        // 16,777,216 bytes.
        assert_eq!((lora.load, lora.fetch), (Nanos(1_000_000), Nanos(10_000_000)));
        let mut adapters = Adapters::new(&lora);
        let mut load = |needed: &[u32]| adapters.prepare(&lora, &members(needed)).load.0;
        assert_eq!(load(&[1, 2, 2, 0]), 22_000_000, "both from disk");
        assert_eq!(load(&[2, 1]), 0);
        assert_eq!(load(&[2, 3]), 11_000_000, "1 gives up its slot");
        assert_eq!(load(&[1, 2]), 1_000_000, "1 is still on the host, and 2 keeps its slot");
        assert_eq!(load(&[4]), 11_000_000, "3 gives up its place on the host");
        assert_eq!(load(&[3]), 11_000_000);
        let totals = adapters.take_totals();
        assert_eq!((totals.loads, totals.fetches), (6, 5));
        assert_eq!(totals.load_time, Nanos(56_000_000));
    }

    #[test]
    fn a_batch_has_no_more_adapters_than_slots() {
        let mut adapters = Adapters::new(&run("(adapters: 9, max_loras: 2)"));
        for adapter in [1, 2, 2] {
            assert!(adapters.allows(adapter));
            adapters.admit(adapter);
        }
        assert!(adapters.allows(1) && adapters.allows(2) && adapters.allows(0));
        assert!(!adapters.allows(3));
        adapters.leave(2);
        assert!(!adapters.allows(3), "one request with it is left");
        adapters.leave(2);
        assert!(adapters.allows(3));
    }

    #[test]
    fn settings_that_make_no_sense() {
        let llama = model::find("Llama-2-7B").unwrap();
        for (text, path) in [
            ("(adapters: 0)", "adapters"),
            ("(adapters: 4, rank: 0)", "rank"),
            ("(adapters: 4, target_modules: [Q, Q])", "target_modules"),
            ("(adapters: 4, target_modules: [])", "target_modules"),
            ("(adapters: 4, popularity: Zipf(-1.0))", "popularity"),
            ("(adapters: 4, base_share: 1.5)", "base_share"),
            ("(adapters: 4, max_loras: 0)", "max_loras"),
            ("(adapters: 4, max_cpu_loras: 7)", "max_cpu_loras"),
            ("(adapters: 4, load_gb_per_s: 0)", "load_gb_per_s"),
            ("(adapters: 4, efficiency: 0)", "efficiency"),
            ("(adapters: 4, kernel_us: -1)", "kernel_us"),
        ] {
            assert_eq!(settings(text).check(llama).unwrap_err().path, path, "{text}");
        }
    }
}

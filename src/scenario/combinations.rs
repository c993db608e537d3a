//! Which technique goes with which, and which policies can do it. This table is the only place:
//! checks and their messages, `docs/combinations.md` and the tests read it.

use std::fmt::Write as _;

use super::raw::RawScenario;
use crate::base::SettingError;
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::registry::Registry;

/// Of an engine that is asked what it can do.
const SOME_LIMITS: EngineLimits = EngineLimits {
    max_model_len: 1,
    block_size: 1,
    num_blocks: 1,
    stages: 1,
    vidur_lengths: false,
};

/// Something that a scenario may use beside its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technique {
    /// KV blocks are found again by the prefix that they hold.
    PrefixCaching,
    /// Several pipeline stages.
    Pipelines,
    /// Speculative decoding.
    Speculation,
    /// LoRA adapters.
    Lora,
    /// Layers that keep only a window or a state.
    KvGroups,
    /// Host memory for KV blocks.
    KvOffload,
    /// Preempted requests are moved to host memory.
    Swap,
    /// Prefill and decode on replicas of their own.
    Disaggregation,
    /// Several models in one cluster.
    SeveralModels,
    /// Several models on the same GPUs.
    SharedGpus,
    /// Vidur's bug of lengths beyond the limit.
    VidurLengths,
}

impl Technique {
    /// All of them, in the order of the documents.
    pub const ALL: [Technique; 11] = [
        Technique::PrefixCaching,
        Technique::Pipelines,
        Technique::Speculation,
        Technique::Lora,
        Technique::KvGroups,
        Technique::KvOffload,
        Technique::Swap,
        Technique::Disaggregation,
        Technique::SeveralModels,
        Technique::SharedGpus,
        Technique::VidurLengths,
    ];

    /// How a scenario switches it on.
    pub fn setting(self) -> &'static str {
        match self {
            Technique::PrefixCaching => "engine.enable_prefix_caching",
            Technique::Pipelines => "cluster.pipeline_parallel",
            Technique::Speculation => "engine.speculative",
            Technique::Lora => "engine.lora",
            Technique::KvGroups => "engine.kv_cache_groups",
            Technique::KvOffload => "engine.kv_offload",
            Technique::Swap => "engine.preemption_mode",
            Technique::Disaggregation => "disaggregated",
            Technique::SeveralModels => "models",
            Technique::SharedGpus => "gpus",
            Technique::VidurLengths => "engine.vidur_lengths",
        }
    }

    /// What it is called in messages and documents.
    pub fn label(self) -> &'static str {
        match self {
            Technique::PrefixCaching => "prefix caching",
            Technique::Pipelines => "pipeline parallelism",
            Technique::Speculation => "speculative decoding",
            Technique::Lora => "LoRA",
            Technique::KvGroups => "KV cache groups",
            Technique::KvOffload => "KV offload",
            Technique::Swap => "swapping",
            Technique::Disaggregation => "disaggregation",
            Technique::SeveralModels => "several models",
            Technique::SharedGpus => "shared GPUs",
            Technique::VidurLengths => "`vidur_lengths`",
        }
    }

    /// Whether a policy can do it; `true` where it is none of the policy's business.
    fn works_with(self, policy: &dyn AnyPolicy) -> bool {
        match self {
            Technique::Lora => policy.serves_adapters(),
            Technique::KvGroups => policy.group_rules(&[], &SOME_LIMITS).is_some(),
            Technique::Swap => policy.swaps(),
            Technique::Disaggregation => policy.disaggregates(),
            _ => true,
        }
    }

    /// Why some policies cannot do it.
    fn needs(self) -> &'static str {
        match self {
            Technique::KvGroups => {
                "the rules are those of vLLM 0.33; other versions and policies are not known"
            }
            Technique::Lora => "other policies do not skip requests whose adapter is one too many",
            Technique::Swap => "policies with a rule of Vidur's (`vidur_...`) do not swap either",
            Technique::Disaggregation => {
                "other policies reserve blocks in advance or free them in groups"
            }
            _ => "",
        }
    }
}

/// Two techniques that do not go together.
pub struct Refusal {
    /// The one whose setting the message points at.
    pub refused: Technique,
    /// The one that it does not go with.
    pub beside: Technique,
    /// Why, or what to do instead.
    pub help: &'static str,
}

/// All pairs that are refused; every other pair is accepted.
pub const REFUSED: &[Refusal] = {
    use Technique::*;
    const fn pair(refused: Technique, beside: Technique, help: &'static str) -> Refusal {
        Refusal { refused, beside, help }
    }
    &[
        pair(
            Pipelines,
            Speculation,
            "how drafts travel through a pipeline is not modelled: use tensor_parallel",
        ),
        pair(
            Pipelines,
            Lora,
            "loading adapters stage by stage is not modelled: use tensor_parallel",
        ),
        pair(Pipelines, KvGroups, "groups of each stage are not modelled: use tensor_parallel"),
        pair(KvGroups, Speculation, "drafts beside several groups are not modelled"),
        pair(KvGroups, Lora, "adapters beside several groups are not modelled"),
        pair(KvGroups, KvOffload, "copies of several groups are not modelled"),
        pair(KvGroups, Swap, "copies of several groups are not modelled"),
        pair(KvGroups, Disaggregation, "sending several groups is not modelled"),
        pair(Pipelines, KvOffload, "how copies delay stages is not modelled: use tensor_parallel"),
        pair(Pipelines, Swap, "how copies delay stages is not modelled: use tensor_parallel"),
        pair(
            VidurLengths,
            PrefixCaching,
            "Vidur has no prefix cache; set enable_prefix_caching: false",
        ),
        pair(VidurLengths, Speculation, "Vidur does not speculate"),
        pair(VidurLengths, Lora, "Vidur serves no adapters"),
        pair(VidurLengths, KvGroups, "Vidur has one group of layers"),
        pair(VidurLengths, KvOffload, "Vidur has no host memory"),
        pair(VidurLengths, Swap, "Vidur has no host memory"),
        pair(VidurLengths, Disaggregation, "Vidur does not disaggregate"),
        pair(Disaggregation, SeveralModels, "disaggregation of several models is not modelled"),
        pair(Disaggregation, SharedGpus, "disaggregation of several models is not modelled"),
        pair(SharedGpus, KvOffload, "models do not share a link to the host; use `gpus: Own`"),
        pair(SharedGpus, Swap, "models do not share a link to the host; use `gpus: Own`"),
    ]
};

/// Refuses what does not go together of the techniques in use. The path of the error starts at the
/// scenario.
pub(super) fn check(
    used: &[Technique],
    value: impl Fn(Technique) -> String,
) -> Result<(), SettingError> {
    let together =
        |refusal: &&Refusal| used.contains(&refusal.refused) && used.contains(&refusal.beside);
    match REFUSED.iter().find(together) {
        None => Ok(()),
        Some(Refusal { refused, beside, help }) => {
            let found = format!("{} with {}", value(*refused), beside.label());
            let expected = format!("no {} beside {}", refused.label(), beside.label());
            Err(SettingError::new(refused.setting(), found, expected).help(*help))
        }
    }
}

/// Refuses a policy that cannot do one of the techniques.
pub(super) fn check_policy(
    used: &[Technique],
    policy: &dyn AnyPolicy,
    registry: &Registry,
) -> Result<(), SettingError> {
    match used.iter().find(|technique| !technique.works_with(policy)) {
        None => Ok(()),
        Some(technique) => {
            let found = format!("{} with {}", policy.name(), technique.label());
            let able = policies(*technique, registry).join(", ");
            Err(SettingError::new("engine.policy", found, able).help(technique.needs()))
        }
    }
}

/// The techniques of one pool that its section of the scenario switches on.
pub(super) fn of_pool(raw: &RawScenario, policy: &dyn AnyPolicy) -> Vec<Technique> {
    let engine = &raw.engine;
    let caches = engine.enable_prefix_caching.unwrap_or_else(|| policy.caches_prefixes());
    let swaps = engine.preemption_mode == super::PreemptionMode::Swap;
    [
        (Technique::PrefixCaching, caches),
        (Technique::Pipelines, raw.cluster.pipeline_parallel > 1),
        (Technique::Speculation, engine.speculative.is_some()),
        (Technique::Lora, engine.lora.is_some()),
        (Technique::KvGroups, engine.kv_cache_groups.is_some()),
        (Technique::KvOffload, engine.kv_offload.is_some()),
        (Technique::Swap, swaps && engine.kv_offload.is_some()),
        (Technique::VidurLengths, engine.vidur_lengths),
    ]
    .into_iter()
    .filter_map(|(technique, on)| on.then_some(technique))
    .collect()
}

/// The names of the registered policies that can do it with their default settings.
fn policies(technique: Technique, registry: &Registry) -> Vec<&'static str> {
    let policies = registry.policies().iter();
    policies
        .filter(|entry| (entry.parse)("").is_ok_and(|policy| technique.works_with(policy.as_ref())))
        .map(|entry| entry.name)
        .collect()
}

/// The table of `docs/combinations.md`.
pub fn as_markdown(registry: &Registry) -> String {
    let mut text = String::from("|  |");
    let label = |technique: Technique| technique.label();
    for technique in Technique::ALL {
        let _ = write!(text, " {} |", label(technique));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Technique::ALL.len()));
    for row in Technique::ALL {
        let _ = write!(text, "\n| **{}** |", label(row));
        for column in Technique::ALL {
            let refused = REFUSED.iter().any(|refusal| {
                [(refusal.refused, refusal.beside), (refusal.beside, refusal.refused)]
                    .contains(&(row, column))
            });
            text.push_str(match (row == column, refused) {
                (true, _) => "  |",
                (_, true) => " no |",
                (_, false) => " yes |",
            });
        }
    }
    text.push_str("\n\n| technique | policies that can do it | the others |\n|---|---|---|\n");
    for technique in Technique::ALL.into_iter().filter(|technique| !technique.needs().is_empty()) {
        let able = policies(technique, registry).join(", ");
        let _ = writeln!(text, "| {} | {able} | {} |", label(technique), technique.needs());
    }
    text.push_str("\n| refused | beside | why |\n|---|---|---|\n");
    for Refusal { refused, beside, help } in REFUSED {
        let _ = writeln!(text, "| {} | {} | {help} |", label(*refused), label(*beside));
    }
    text
}

//! What the results say about a configuration, beside what was measured.

use crate::base::GIB;
use crate::metrics::{
    Capacity, ClassResult, Load, ModelResult, RunContext, StatsSink, VariantResult,
};
use crate::scenario::{Cluster, Configuration, PoolConfig};
use crate::timing::TimingNote;
use crate::workload::Slo;

pub(super) fn empty_result(configuration: &Configuration) -> VariantResult {
    let cluster = &configuration.cluster;
    let limits = cluster.first().limits;
    VariantResult {
        name: configuration.name.clone(),
        what: cluster.what(),
        gpus: cluster.num_gpus(),
        runs: Vec::new(),
        load: load_of_all(cluster),
        capacity: Capacity::NotAsked,
        slo: common_slo(cluster),
        kv_blocks: u64::from(limits.num_blocks),
        block_size: limits.block_size,
        timing: note_of_all(cluster),
        models: cluster.named_pools().into_iter().map(model_result).collect(),
        classes: classes(cluster),
    }
}

/// The classes of requests of all models. A class without objectives of its own has those of its
/// model.
pub(super) fn classes(cluster: &Cluster) -> Vec<ClassResult> {
    let names = cluster.class_names().into_iter();
    let slos = cluster.entry_pools().iter().flat_map(class_slos);
    names.zip(slos).map(|(name, slo)| ClassResult { name, slo }).collect()
}

/// The objectives of each class of a model.
fn class_slos(model: &PoolConfig) -> impl Iterator<Item = Option<Slo>> {
    let specs = model.workload_spec.classes.iter().flatten();
    specs.map(|(_, class)| class.slo.clone().or_else(|| model.slo.clone()))
}

/// The objectives by the number of a class, those of models without classes behind them; none if
/// no model has classes.
pub(super) fn slos(cluster: &Cluster) -> Vec<Option<Slo>> {
    let classes: Vec<Option<Slo>> = cluster.entry_pools().iter().flat_map(class_slos).collect();
    if classes.is_empty() {
        return classes;
    }
    let without = cluster.entry_pools().iter().filter(|model| model.workload.classes().is_empty());
    classes.into_iter().chain(without.map(|model| model.slo.clone())).collect()
}

fn model_result((name, model): (&str, &PoolConfig)) -> ModelResult {
    let blocks = u64::from(model.limits.num_blocks);
    let block_bytes =
        model.model.kv_bytes_per_token(model.parallel) * u64::from(model.limits.block_size);
    ModelResult {
        name: name.to_owned(),
        what: format!("{} | {}", model.model.title(), model.policy.title()),
        kv_blocks: blocks,
        block_size: model.limits.block_size,
        weight_gib: model.model.weight_bytes(model.parallel) as f64 / GIB,
        kv_gib: (blocks * block_bytes) as f64 / GIB,
        load: model.load(),
    }
}

/// The rates of all models together; how they come if none has a rate.
pub(super) fn load_of_all(cluster: &Cluster) -> Load {
    let rate = |model: &PoolConfig| match model.load() {
        Load::Open { offered } => Some(offered),
        _ => None,
    };
    let rates: Option<Vec<f64>> = cluster.entry_pools().iter().map(rate).collect();
    rates.map_or(cluster.first().load(), |rates| Load::Open { offered: rates.iter().sum() })
}

/// What the times of all models rest on, each thing said once.
fn note_of_all(cluster: &Cluster) -> TimingNote {
    let mut note = cluster.first().timing_note();
    for other in cluster.pools.iter().skip(1).map(PoolConfig::timing_note) {
        let parts = [
            (&mut note.rests_on, other.rests_on),
            (&mut note.not_modelled, other.not_modelled),
            (&mut note.checked_against, other.checked_against),
        ];
        for (text, more) in parts {
            if !text.contains(&more) {
                text.push_str(&format!("; {more}"));
            }
        }
        note.physical &= other.physical;
        note.estimate |= other.estimate;
    }
    note
}

/// What the times of a variant rest on, and how much of them.
pub(super) fn timing_line(variant: &VariantResult) -> String {
    let name = match variant.name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let basis = variant.basis().map_or(String::new(), |basis| format!("; {basis}"));
    format!("{name}{}{basis}", variant.timing.rests_on)
}

/// The objectives that hold for all requests, if they are the same for all models and classes.
pub(super) fn common_slo(cluster: &Cluster) -> Option<Slo> {
    let first = cluster.first();
    let same = cluster.entry_pools().iter().all(|model| model.slo == first.slo);
    let specs =
        cluster.entry_pools().iter().filter_map(|model| model.workload_spec.classes.as_ref());
    let own = specs.flat_map(|classes| classes.values()).any(|class| class.slo.is_some());
    first.slo.clone().filter(|_| same && !own)
}

/// What the statistics of one model need to know.
pub(super) fn context(model: &PoolConfig, seed: u64) -> RunContext {
    RunContext {
        seed,
        block_size: model.limits.block_size,
        stages: model.stages(),
        flops: model.flops(),
    }
}

/// What statistics need for all models together. FLOPs and tokens per block of different models
/// cannot be added up; what depends on them has no value then.
pub(super) fn context_of_all(cluster: &Cluster, seed: u64) -> RunContext {
    let first = context(cluster.first(), seed);
    if let Some((_, decode, _)) = cluster.sides() {
        let flops = first.flops.zip(decode.flops()).map(|(own, other)| own.with(&other));
        return RunContext { stages: cluster.stages(), flops, ..first };
    }
    if !cluster.has_several_models() {
        return first;
    }
    let size = first.block_size;
    let same = cluster.entry_pools().iter().all(|model| model.limits.block_size == size);
    RunContext {
        block_size: if same { size } else { 0 },
        stages: cluster.stages(),
        flops: None,
        ..first
    }
}

/// Statistics of each pool that has a name, by the objectives of its classes.
pub(super) fn stats_by_pool(cluster: &Cluster) -> Vec<StatsSink> {
    let first_classes = cluster.first_classes();
    let stats = |(index, (_, pool)): (usize, &(&str, &PoolConfig))| {
        let stats = StatsSink::new(pool.slo.clone());
        match first_classes.get(index) {
            Some(first) if !pool.workload.classes().is_empty() => {
                stats.with_classes((0..*first).map(|_| None).chain(class_slos(pool)))
            }
            // No request counts on a decode side.
            _ => stats,
        }
    };
    cluster.named_pools().iter().enumerate().map(stats).collect()
}

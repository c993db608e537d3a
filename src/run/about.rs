//! What the results say about a configuration, beside what was measured.

use crate::metrics::{ClassResult, Load, ModelResult, RunContext, StatsSink, VariantResult};
use crate::scenario::Configuration;
use crate::timing::TimingNote;
use crate::workload::Slo;

pub(super) fn empty_result(configuration: &Configuration) -> VariantResult {
    VariantResult {
        name: configuration.name.clone(),
        what: configuration.what(),
        runs: Vec::new(),
        load: load_of_all(configuration),
        capacity: None,
        slo: common_slo(configuration),
        kv_blocks: u64::from(configuration.limits.num_blocks),
        block_size: configuration.limits.block_size,
        timing: note_of_all(configuration),
        models: configuration.named_pools().into_iter().map(model_result).collect(),
        classes: classes(configuration),
    }
}

/// The classes of requests of all models. A class without objectives of its own has those of its
/// model.
pub(super) fn classes(configuration: &Configuration) -> Vec<ClassResult> {
    let names = configuration.class_names().into_iter();
    let slos = configuration.models().flat_map(class_slos);
    names.zip(slos).map(|(name, slo)| ClassResult { name, slo }).collect()
}

/// The objectives of each class of a model.
fn class_slos(model: &Configuration) -> impl Iterator<Item = Option<Slo>> {
    let specs = model.workload_spec.classes.iter().flatten();
    specs.map(|(_, class)| class.slo.clone().or_else(|| model.slo.clone()))
}

/// The objectives by the number of a class, those of models without classes behind them; none if
/// no model has classes.
pub(super) fn slos(configuration: &Configuration) -> Vec<Option<Slo>> {
    let classes: Vec<Option<Slo>> = configuration.models().flat_map(class_slos).collect();
    if classes.is_empty() {
        return classes;
    }
    let without = configuration.models().filter(|model| model.workload.classes().is_empty());
    classes.into_iter().chain(without.map(|model| model.slo.clone())).collect()
}

fn model_result((name, model): (&str, &Configuration)) -> ModelResult {
    const GIB: f64 = (1_u64 << 30) as f64;
    let blocks = u64::from(model.limits.num_blocks);
    let block_bytes =
        model.model.kv_bytes_per_token(model.parallel) * u64::from(model.limits.block_size);
    ModelResult {
        name: name.to_owned(),
        what: format!("{} | {}", model.model.name, model.policy.name()),
        kv_blocks: blocks,
        block_size: model.limits.block_size,
        weight_gib: model.model.weight_bytes(model.parallel) as f64 / GIB,
        kv_gib: (blocks * block_bytes) as f64 / GIB,
        load: model.load(),
    }
}

/// The rates of all models together; how they come if none has a rate.
fn load_of_all(configuration: &Configuration) -> Load {
    let rate = |model: &Configuration| match model.load() {
        Load::Open { offered } => Some(offered),
        _ => None,
    };
    let rates: Option<Vec<f64>> = configuration.models().map(rate).collect();
    rates.map_or(configuration.load(), |rates| Load::Open { offered: rates.iter().sum() })
}

/// What the times of all models rest on, each thing said once.
fn note_of_all(configuration: &Configuration) -> TimingNote {
    let mut note = configuration.predictor.note();
    for other in configuration.pools().skip(1).map(|model| model.predictor.note()) {
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
pub(super) fn common_slo(configuration: &Configuration) -> Option<Slo> {
    let same = configuration.beside.iter().all(|model| model.slo == configuration.slo);
    let specs = configuration.models().filter_map(|model| model.workload_spec.classes.as_ref());
    let own = specs.flat_map(|classes| classes.values()).any(|class| class.slo.is_some());
    configuration.slo.clone().filter(|_| same && !own)
}

/// What the statistics of one model need to know.
pub(super) fn context(model: &Configuration, seed: u64) -> RunContext {
    RunContext {
        seed,
        block_size: model.limits.block_size,
        stages: model.replicas * model.parallel.pipeline,
        flops: model.flops(),
    }
}

/// The same for all models together. FLOPs and tokens per block of different models cannot be
/// added up; what depends on them has no value then.
pub(super) fn context_of_all(configuration: &Configuration, seed: u64) -> RunContext {
    let first = context(configuration, seed);
    if let Some(decode) = configuration.decode() {
        let flops = first.flops.zip(decode.flops()).map(|(own, other)| own.with(&other));
        return RunContext { stages: configuration.stages(), flops, ..first };
    }
    if configuration.beside.is_empty() {
        return first;
    }
    let size = first.block_size;
    let same = configuration.models().all(|model| model.limits.block_size == size);
    RunContext {
        block_size: if same { size } else { 0 },
        stages: configuration.stages(),
        flops: None,
        ..first
    }
}

/// Statistics of each pool that has a name, by the objectives of its classes.
pub(super) fn stats_by_pool(configuration: &Configuration) -> Vec<StatsSink> {
    let first_classes = configuration.first_classes();
    let stats = |(index, (_, pool)): (usize, &(&str, &Configuration))| {
        let stats = StatsSink::new(pool.slo.clone());
        match first_classes.get(index) {
            Some(first) if !pool.workload.classes().is_empty() => {
                stats.with_classes((0..*first).map(|_| None).chain(class_slos(pool)))
            }
            // No request counts on a decode side.
            _ => stats,
        }
    };
    configuration.named_pools().iter().enumerate().map(stats).collect()
}

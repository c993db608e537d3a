//! The techniques that `all_techniques.rs` switches on at once: what each changes in the pools of a
//! random cluster.

// Techniques have one signature, whether or not they add a pool.
#![allow(clippy::ptr_arg)]

use std::path::Path;
use std::sync::Arc;

use vidur_ecs::base::{Nanos, RandomStream};
use vidur_ecs::engine::admission::{
    AdmissionClass, AnyAdmission, Gate, MaxQueue, PredictedTtft, TokenBudget,
};
use vidur_ecs::engine::lora::LoraSettings;
use vidur_ecs::engine::policy::{AnyPolicy, EngineLimits};
use vidur_ecs::engine::routing::{LeastOutstanding, LoraAffinity};
use vidur_ecs::engine::speculation::{
    Acceptance, Adaptive, Drafter, Speculation, SpeculativePredictor,
};
use vidur_ecs::engine::state::kv::{HostMemory, Reload};
use vidur_ecs::engine::{HandOver, PoolSpec, Traffic};
use vidur_ecs::hardware::memory::{DraftMemory, MemorySettings, plan};
use vidur_ecs::hardware::model::ModelSpec;
use vidur_ecs::hardware::{DeviceSpec, Parallelism, find_device, model};
use vidur_ecs::scenario::Quantization;
use vidur_ecs::timing::{RooflineSettings, SharedTables, TimingContext, TimingSettings};
use vidur_ecs::workload::{Slo, WorkloadSpec};

use crate::records::nobody;

/// Changes pools, where it can; whether it did.
pub type Technique = fn(&mut Vec<PoolSpec>, &mut RandomStream) -> bool;

/// All techniques, in the order in which they are applied.
pub const TECHNIQUES: [(&str, Technique); 9] = [
    ("prefix caching", prefix_caching),
    ("quantisation", quantisation),
    ("speculation", speculation),
    ("shared GPUs", shared_gpus),
    ("disaggregation", disaggregation),
    ("classes", classes),
    ("admission control", admission),
    ("KV offload", kv_offload),
    ("LoRA", lora),
];

/// Models in a cluster, before techniques add pools.
pub const MODELS: u64 = 7;
/// The model whose prompts are processed apart.
pub const PREFILL: usize = 2;
/// The model that is quantised.
const QUANTISED: usize = 6;

/// The random scenarios themselves draw it.
fn prefix_caching(pools: &mut Vec<PoolSpec>, _: &mut RandomStream) -> bool {
    pools.iter().any(|pool| pool.prefix_caching)
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> T {
    ron::from_str(&format!("#![enable(implicit_some)]{text}"))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// One model is a real one in fewer bits, on a GPU with as much room as the random scenario has
/// blocks for 16-bit keys and values: blocks and times come from what scenarios are built with.
fn quantisation(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let pool = &mut pools[QUANTISED];
    let llama = Arc::new(model::find("Llama-2-7B").unwrap().clone());
    let device = find_device("H100-SXM-80G").unwrap();
    let parallel = Parallelism { tensor: 1, pipeline: pool.limits.stages };
    if parallel.check(&llama).is_err() {
        return false;
    }
    let weights = ["Fp16", "Fp8", "Int8", "Int4"][random.below(4) as usize];
    let kv_cache = ["Fp8", "Int8"][random.below(2) as usize];
    let served = |text: &str| parsed::<Quantization>(text).apply(llama.clone()).unwrap();
    let half = served(&format!("(weights: {weights})"));
    let eighth = served(&format!("(weights: {weights}, kv_cache: {kv_cache})"));
    let utilization = room_for(&half, (device, parallel), &*pool.policy, &pool.limits);
    let blocks = |model: &ModelSpec| {
        let settings = settings(utilization, &*pool.policy, &pool.limits);
        plan(model, device, parallel, settings).unwrap().num_blocks
    };
    assert_eq!(blocks(&half), pool.limits.num_blocks);
    let doubled = blocks(&eighth);
    assert!(doubled / 2 == pool.limits.num_blocks, "{doubled} of half as many bytes");
    // As tight as before: the drawn number is now that of the small blocks' pool.
    let few = pool.limits.blocks_for(pool.limits.max_model_len) + 1;
    pool.limits.num_blocks = doubled.min(few + random.below(u64::from(few)) as u32);
    let context = TimingContext {
        model: &eighth,
        device,
        parallel,
        block_size: pool.limits.block_size,
        network: None,
        step_overhead_ms: pool.policy.step_overhead_ms(),
        base_dir: Path::new("."),
        tables: &SharedTables::default(),
    };
    pool.predictor = RooflineSettings::default().build(&context).unwrap();
    true
}

fn settings(
    gpu_memory_utilization: f64,
    policy: &dyn AnyPolicy,
    limits: &EngineLimits,
) -> MemorySettings {
    let batch = policy.batch_limits(limits);
    MemorySettings {
        gpu_memory_utilization,
        block_size: limits.block_size,
        max_model_len: limits.max_model_len,
        max_num_batched_tokens: batch.max_num_batched_tokens.min(limits.max_model_len),
        max_num_seqs: batch.max_num_seqs,
        draft: DraftMemory::default(),
    }
}

/// The share of the memory that leaves room for the drawn number of blocks.
fn room_for(
    model: &ModelSpec,
    (device, parallel): (&DeviceSpec, Parallelism),
    policy: &dyn AnyPolicy,
    limits: &EngineLimits,
) -> f64 {
    const GIB: f64 = (1_u64 << 30) as f64;
    let all = plan(model, device, parallel, settings(1.0, policy, limits)).unwrap();
    // A quarter of a block more, so that twice as many of half the size fit and no third half.
    let kv = (f64::from(limits.num_blocks) + 0.25) * all.kv_bytes_per_block as f64 / GIB;
    (all.weight_gib + all.activation_gib + kv) / device.memory_gib
}

fn speculates(pool: &mut PoolSpec, random: &mut RandomStream) {
    let half = Drafter::Passes { predictor: pool.predictor.clone(), share: 0.5 };
    let predictor = Arc::new(SpeculativePredictor::new(pool.predictor.clone(), half, "drafts"));
    pool.predictor = predictor.clone();
    pool.speculation = Some(Speculation {
        k: 1 + random.below(4) as u32,
        acceptance: Acceptance::Same(0.7),
        adaptive: Adaptive::Off,
        predictor,
    });
}

/// The first model drafts, on GPUs of its own or shared.
fn speculation(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    if pools[0].limits.stages > 1 {
        return false;
    }
    speculates(&mut pools[0], random);
    true
}

/// The first two models take turns on the same GPUs.
fn shared_gpus(pools: &mut Vec<PoolSpec>, _: &mut RandomStream) -> bool {
    for pool in &mut pools[..2] {
        pool.shared_gpus = Some(0);
    }
    true
}

/// A model prefills, and a pool beside goes on with its requests; it may speculate.
fn disaggregation(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    if !pools[PREFILL].policy.disaggregates() {
        return false;
    }
    let to = pools.len() as u32;
    let prefill = &mut pools[PREFILL];
    let mut limits = prefill.limits;
    let longest = limits.blocks_for(limits.max_model_len);
    limits.num_blocks = longest + 1 + random.below(u64::from(longest) * 2) as u32;
    prefill.hand_over = Some(HandOver {
        to,
        bytes_per_token: 1 + random.below(3) * 1_000,
        bytes_per_second: [1e7, 1e9, 1e12][random.below(3) as usize],
        latency: Nanos(random.below(3) * 1_000),
        layers: [1, 4][random.below(2) as usize],
    });
    let (policy, predictor) = (prefill.policy.boxed(), prefill.predictor.clone());
    let router = Box::new(LeastOutstanding::default());
    let mut decode = PoolSpec {
        name: "decode".to_owned(),
        replicas: 1 + random.below(2) as u32,
        ..PoolSpec::new(limits, policy, router, predictor, nobody())
    };
    if limits.stages == 1 && random.below(2) == 0 {
        speculates(&mut decode, random);
    }
    pools.push(decode);
    true
}

/// The classes of every model that has any.
const CLASSES: [&str; 2] = ["interactive", "batch"];

/// Some models have requests of two classes with priorities, as a scenario says it.
fn classes(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let mut any = false;
    for pool in pools.iter_mut().take(MODELS as usize) {
        if random.below(3) > 0 {
            continue;
        }
        // A shared prefix, the rest of the prompt, and the answer.
        let most = pool.limits.max_model_len / 3;
        let arrivals = match random.below(2) {
            0 => format!("Concurrency({})", 1 + random.below(12)),
            _ => format!("Poisson(qps: {})", 10_000 << random.below(5)),
        };
        let retry = if arrivals.starts_with('C') { "retry_after_s: 0.001," } else { "" };
        let [urgent, patient] = CLASSES;
        let spec: WorkloadSpec = parsed(&format!(
            r#"(requests: {}, arrivals: {arrivals}, {retry}
                lengths: Uniform(prompt: (1, {most}), output: (1, {most})),
                prefix: SharedPrefix(groups: 3, tokens: {most}, zipf: 1.0),
                classes: {{"{urgent}": (share: 1, priority: -1), "{patient}": (share: 2, priority: 1)}})"#,
            20 + random.below(40),
        ));
        let workload = spec.check(Path::new(".")).unwrap();
        pool.traffic = Traffic {
            concurrency: workload.concurrency(),
            retry_after: workload.retry_after(),
            ..Traffic::of(workload.source(random.below(1 << 32)))
        };
        any = true;
    }
    any
}

/// Some models do not let every request in.
fn admission(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let mut any = false;
    for pool in pools.iter_mut().take(MODELS as usize) {
        if random.below(3) > 0 {
            continue;
        }
        let control: Box<dyn AnyAdmission> = match random.below(3) {
            0 => Box::new(parsed::<MaxQueue>(r#"(requests: 4, classes: {"batch": 1})"#)),
            1 => Box::new(parsed::<TokenBudget>(
                r#"(classes: {"batch": (tokens_per_s: 2e5, burst_tokens: 200)})"#,
            )),
            _ => Box::new(PredictedTtft::default()),
        };
        // Iterations of random scenarios take microseconds.
        let slo = Some(Slo { ttft_ms: Some(0.1), ..parsed("(ttft_ms: 1)") });
        let class = |name: &str| AdmissionClass { name: name.to_owned(), slo: slo.clone() };
        let classes: Vec<AdmissionClass> = CLASSES.into_iter().map(class).collect();
        control.check(&classes).unwrap();
        let by_priority = pool.policy.schedules_by_priority();
        pool.admission = Some(Gate { control, classes, by_priority });
        any = true;
    }
    any
}

/// Pools with GPUs of their own and one stage have host memory, as far as their policy or their
/// prefix cache makes use of it: also the sides of a disaggregated model.
fn kv_offload(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let mut any = false;
    for pool in pools {
        let swap = pool.policy.swaps() && random.below(4) > 0;
        let reload = match pool.prefix_caching {
            true => [Reload::Always, Reload::WhenFaster][random.below(2) as usize],
            false => Reload::Never,
        };
        let uses = swap || reload != Reload::Never;
        if !uses || pool.limits.stages > 1 || pool.shared_gpus.is_some() {
            continue;
        }
        pool.host = Some(HostMemory {
            blocks: 1 + random.below(u64::from(pool.limits.num_blocks) * 2) as u32,
            bytes_per_block: 1_000,
            gpus: 1,
            bytes_per_second: [1e7, 1e9, 1e12][random.below(3) as usize],
            latency: Nanos(random.below(2) * 1_000),
            reload,
            swap,
        });
        any = true;
    }
    any
}

/// Half of the models whose policy knows adapters serve some, on both sides of a disaggregated one.
fn lora(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let llama = model::find("Llama-2-7B").unwrap();
    let device = find_device("A100-SXM-80G").unwrap();
    let alone = Parallelism { tensor: 1, pipeline: 1 };
    let mut any = false;
    for index in 0..MODELS as usize {
        let pool = &mut pools[index];
        let knows = pool.policy.serves_adapters() && pool.limits.stages == 1;
        if !knows || random.below(2) == 0 {
            continue;
        }
        let mut settings = || LoraSettings {
            max_loras: 1 + random.below(3) as u32,
            max_cpu_loras: Some(4),
            ..parsed(
                "(adapters: 6, base_share: 0.1, kernel_us: 0.01, load_gb_per_s: 1e4, \
                  disk_gb_per_s: 1e4)",
            )
        };
        let (own, of_decode) = (settings(), settings());
        pool.lora = Some(own.run(llama, alone, device));
        if random.below(2) == 0 {
            pool.router = Box::new(LoraAffinity::default());
        }
        let source = std::mem::replace(&mut pool.traffic.source, nobody().source);
        pool.traffic.source = own.deal(source, random.below(1 << 32), true);
        if let Some(hand_over) = pool.hand_over {
            pools[hand_over.to as usize].lora = Some(of_decode.run(llama, alone, device));
        }
        any = true;
    }
    any
}

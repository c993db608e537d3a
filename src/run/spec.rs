//! What a simulation is built from, out of a configuration.

use crate::base::{Nanos, RandomStream};
use crate::engine::admission::AdmissionClass;
use crate::engine::lora::LoraSettings;
use crate::engine::{PoolSpec, SimSpec, Traffic};
use crate::scenario::{Cluster, Configuration, GpuSharing, PoolConfig, Tie};
use crate::workload::{Changed, NewRequest, RequestSource, Workload};

/// The simulation of a configuration under a seed. `workload` is that of its first model.
pub(crate) fn spec(configuration: &Configuration, workload: &Workload, seed: u64) -> SimSpec {
    let cluster = &configuration.cluster;
    let mut pools = vec![pool(cluster.first(), workload, seed)];
    if let Some((_, decode, link)) = cluster.sides() {
        // A scenario with sides has one model. What drafts takes in prompts on the prefill side, at
        // their predictor's price, but nothing is drafted there.
        pools[0].hand_over = Some(link.hand_over(1, decode));
        pools[0].speculation = None;
        pools.push(decode_pool(decode));
    } else {
        pools.extend(cluster.pools[1..].iter().map(|model| pool(model, &model.workload, seed)));
    }
    number_classes(cluster, &mut pools);
    if matches!(cluster.tie, Tie::Models(GpuSharing::TimeSliced)) {
        for pool in &mut pools {
            pool.shared_gpus = Some(0);
        }
    }
    SimSpec {
        pools,
        time_limit: configuration.time_limit(),
        extensions: configuration.extensions.clone(),
        ..SimSpec::of_none(seed)
    }
}

/// The replicas of one model and their requests, which depend on the seed and its name.
fn pool(model: &PoolConfig, workload: &Workload, seed: u64) -> PoolSpec {
    let own = RandomStream::seed_of(seed, &model.served_as);
    let window = workload.window(own);
    let traffic = Traffic {
        concurrency: workload.concurrency(),
        api_overhead: Nanos::from_millis_f64(model.api_overhead_ms),
        retry_after: workload.retry_after(),
        until: workload.arrivals_end(),
        window: Box::new(move |index, time| window.contains(index, time)),
        ..Traffic::of(source(model.lora.as_ref(), workload, own))
    };
    PoolSpec { name: model.served_as.clone(), admission: model.gate(), ..engine(model, traffic) }
}

/// The replicas of a configuration.
fn engine(of: &PoolConfig, traffic: Traffic) -> PoolSpec {
    let (policy, router) = (of.policy.boxed(), of.router.boxed());
    PoolSpec {
        replicas: of.replicas,
        prefix_caching: of.prefix_caching,
        speculation: of.speculation(),
        host: of.offload.as_ref().map(|offload| offload.memory),
        lora: of.adapters(),
        kv_groups: of.kv_groups.clone(),
        ..PoolSpec::new(of.limits, policy, router, of.predictor.clone(), traffic)
    }
}

/// Numbers the classes of several models through all of them, as
/// [`Configuration::first_classes`] says.
fn number_classes(cluster: &Cluster, pools: &mut [PoolSpec]) {
    if !cluster.has_several_models() || cluster.class_names().is_empty() {
        return;
    }
    for (pool, first) in pools.iter_mut().zip(cluster.first_classes()) {
        let source = std::mem::replace(&mut pool.traffic.source, Box::new(NoRequests));
        pool.traffic.source = Box::new(Changed::new(source, move |request| request.class += first));
        if let Some(gate) = &mut pool.admission {
            // No request of this model is of those before.
            let before = (0..first).map(|_| AdmissionClass::default());
            gate.classes.splice(0..0, before);
        }
    }
}

/// The requests of a model, dealt out to its adapters if there are any.
pub(super) fn source(
    lora: Option<&LoraSettings>,
    workload: &Workload,
    seed: u64,
) -> Box<dyn RequestSource> {
    let source = workload.source(seed);
    match lora {
        None => source,
        Some(lora) => lora.deal(source, seed, workload.has_followers()),
    }
}

/// The decode side, to which no requests come but those that are handed over.
fn decode_pool(side: &PoolConfig) -> PoolSpec {
    PoolSpec { name: "decode".to_owned(), ..engine(side, Traffic::of(Box::new(NoRequests))) }
}

/// No requests at all.
struct NoRequests;

impl RequestSource for NoRequests {
    fn next_request(&mut self) -> Option<NewRequest> {
        None
    }
}

//! Whole simulations without output, and the plain loop that limits them.

use vidur_ecs::engine::policy::VllmV0;
use vidur_ecs::engine::{PoolSpec, SimSpec, Simulation, Traffic};
use vidur_ecs::records::{BatchRecord, RequestRecord, RunSink, RunTotals};
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::{Configuration, Scenario};

use crate::plain_loop;
use crate::plain_loop::{Formula, Outcome};

const FORMULA: Formula = Formula { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };

/// Adds up when requests are complete.
#[derive(Default)]
pub struct Completions(pub u128);

impl RunSink for Completions {
    fn request(&mut self, record: &RequestRecord) {
        self.0 += record.completed_at.map_or(0, |time| u128::from(time.0));
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// A scenario of `benchmarks/scenarios`, with other settings.
pub fn configuration(name: &str, settings: &[&str]) -> Configuration {
    let path = format!("{}/benchmarks/scenarios/{name}.ron", env!("CARGO_MANIFEST_DIR"));
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let scenario = Scenario::load(path.as_ref(), &settings, &Registry::built_in())
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
    scenario.configurations.into_iter().next().expect("a scenario has one")
}

/// Runs it under seed 42.
pub fn simulate(configuration: &Configuration, exact_steps: bool) -> (RunTotals, Completions) {
    let workload = &configuration.cluster.first().workload;
    let traffic = Traffic {
        concurrency: workload.concurrency(),
        until: workload.arrivals_end(),
        ..Traffic::of(workload.source(42))
    };
    let (policy, router) = (
        configuration.cluster.first().policy.boxed(),
        configuration.cluster.first().router.boxed(),
    );
    let predictor = configuration.cluster.first().predictor.clone();
    let pool = PoolSpec {
        replicas: configuration.cluster.first().replicas,
        prefix_caching: configuration.cluster.first().prefix_caching,
        ..PoolSpec::new(configuration.cluster.first().limits, policy, router, predictor, traffic)
    };
    let spec = SimSpec { exact_steps, ..SimSpec::of_one(pool, 42) };
    let mut sink = Completions::default();
    let totals = Simulation::new(spec).and_then(|mut run| run.run(&mut sink)).expect("it runs");
    (totals, sink)
}

/// Poisson load on `VllmV0`, the one thing that the plain loop can do as well.
pub struct Poisson {
    configuration: Configuration,
    policy: VllmV0,
}

impl Poisson {
    /// The scenario `closed_vllm_conv_qps8_100k` with so many requests.
    ///
    /// # Panics
    /// If the two do not come to the same schedule: a loop that came to another would be no limit.
    pub fn new(requests: u64) -> Poisson {
        let setting = format!("workload.requests={requests}");
        let configuration = configuration("closed_vllm_conv_qps8_100k", &[&setting]);
        let policy =
            VllmV0 { max_num_seqs: 128, max_num_batched_tokens: 4096, ..VllmV0::default() };
        let poisson = Poisson { configuration, policy };
        assert_eq!(poisson.plain(), poisson.simulation());
        poisson
    }

    /// The plain loop.
    pub fn plain(&self) -> Outcome {
        let Poisson { configuration, policy } = self;
        let mut source = configuration.cluster.first().workload.source(42);
        plain_loop::run(source.as_mut(), &configuration.cluster.first().limits, policy, &FORMULA)
    }

    /// The simulation.
    pub fn simulation(&self) -> Outcome {
        let (totals, completions) = simulate(&self.configuration, false);
        Outcome { batches: totals.batches, completions: completions.0 }
    }
}

//! How far a capacity moves when step times are off by as much as the roofline may be.

use std::sync::Arc;

use crate::base::{Nanos, Source};
use crate::engine::Simulation;
use crate::records::{BatchRecord, RequestRecord, RunSink};
use crate::registry::Registry;
use crate::run;
use crate::scenario::Scenario;
use crate::timing::{BatchShape, Predictor, StagePosition, StageTime, TimingNote};

/// Another's times, all of them longer by a factor.
struct Scaled(Arc<dyn Predictor>, f64);

impl Predictor for Scaled {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let time = self.0.stage_time(batch, stage);
        StageTime { total: Nanos::from_secs_f64(time.total.as_secs_f64() * self.1), ..time }
    }

    fn note(&self) -> TimingNote {
        self.0.note()
    }
}

/// Requests within TTFT <= 1 s and TPOT <= 50 ms, all requests, and when the last one ended.
#[derive(Default)]
struct Served {
    good: u32,
    all: u32,
    end: f64,
}

impl RunSink for Served {
    fn request(&mut self, r: &RequestRecord) {
        let (Some(first), Some(last)) = (r.first_token_at, r.completed_at) else { return };
        let ttft = first.since(r.arrived_at).as_secs_f64();
        let tpot = last.since(first).as_secs_f64() / f64::from((r.output_tokens - 1).max(1));
        self.all += 1;
        self.good += u32::from(ttft <= 1.0 && tpot <= 0.05);
        self.end = self.end.max(last.as_secs_f64());
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// Serves the workload at `arrivals` with step times `factor` times the roofline's.
fn serve(model: &str, device: &str, tensor: u32, arrivals: &str, factor: f64) -> Served {
    let text = format!(
        "(model: {model:?}, device: {device:?}, cluster: (tensor_parallel: {tensor}), \
         engine: (policy: VllmV1(), max_model_len: 8192), \
         workload: (requests: 600, arrivals: {arrivals}, lengths: LogNormal( \
             prompt: (median: 1730, p90: 5696), output: (median: 415, p90: 834), max_total: 8192)), \
         timing: Roofline())"
    );
    let source = Source::new("capacity", text);
    let scenario = Scenario::from_source(
        &source,
        "capacity".to_owned(),
        std::path::Path::new("."),
        &[],
        &Registry::built_in(),
    );
    let scenario = scenario.map_err(|error| error.render(false)).unwrap();
    let configuration = &scenario.configurations[0];
    let pool = configuration.cluster.first();
    let predictor = Arc::new(Scaled(pool.predictor.clone(), factor));
    let mut spec = run::spec(configuration, &pool.workload, 1);
    spec.pools[0].predictor = predictor;
    let mut served = Served::default();
    Simulation::new(spec).unwrap().run(&mut served).unwrap();
    assert_eq!(served.all, 600);
    served
}

/// The highest Poisson rate at which 90 % of requests keep the limits, to 0.5 %. The same seed
/// gives the same requests, closer together.
fn max_qps(model: &str, device: &str, tensor: u32, factor: f64) -> f64 {
    let (mut low, mut high): (f64, f64) = (0.05, 50.0);
    while high / low > 1.005 {
        let middle = (low * high).sqrt();
        let served = serve(model, device, tensor, &format!("Poisson(qps: {middle:?})"), factor);
        let kept = f64::from(served.good) >= 0.9 * f64::from(served.all);
        if kept { low = middle } else { high = middle }
    }
    low
}

/// Step times 15 % off move the rate of a saturated engine by as much and no more; the rate under
/// an SLO by more, as queues grow with the load. The figures stand in `docs/accuracy.md`.
#[test]
fn a_capacity_moves_about_as_far_as_step_times() {
    for (model, device, tensor) in
        [("Llama-3.1-8B", "A100-SXM-80G", 1), ("Qwen3-32B", "H100-SXM-80G", 2)]
    {
        let saturated = |factor| 600.0 / serve(model, device, tensor, "Static", factor).end;
        let (rate, qps) = (saturated(1.0), max_qps(model, device, tensor, 1.0));
        println!("{model} on {tensor} x {device}: saturated {rate:.2} req/s, within SLO {qps:.2}");
        for factor in [0.85, 1.15] {
            let (off, off_qps) = (saturated(factor), max_qps(model, device, tensor, factor));
            let (by, by_qps) = (100.0 * (off / rate - 1.0), 100.0 * (off_qps / qps - 1.0));
            println!("  step times x {factor}: saturated {by:+.1} %, within SLO {by_qps:+.1} %");
            assert!((off / rate * factor - 1.0).abs() < 0.005, "a saturated engine only waits");
            assert!((0.8..1.35).contains(&(off_qps / qps)), "{off_qps} against {qps}");
        }
    }
}

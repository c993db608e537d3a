//! Plug-ins as a crate outside writes them, with the public interface only: a policy by its trait
//! and as a plain system, a system that keeps a time series of its own, observers.

mod failures;
mod first_tokens;
mod newest_first;
mod own_series;
mod places;

use std::fs;
use std::path::Path;

use vidur_ecs::engine::policy::AnyPolicy;
use vidur_ecs::engine::{Extensions, SimError, SimSpec, Simulation};
use vidur_ecs::records::{BatchRecord, RequestRecord, RunSink};
use vidur_ecs::registry::Plugin;
use vidur_ecs::testing::RandomScenario;

/// A scenario whose memory is tight, so that requests are preempted.
const TIGHT: &str = r#"(
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    cluster: (replicas: 2, router: LeastOutstanding),
    engine: (policy: POLICY, num_gpu_blocks: 300),
    workload: (
        requests: 400,
        arrivals: Poisson(qps: 12.0),
        lengths: Uniform(prompt: (100, 900), output: (1, 400)),
    ),
    timing: Formula(base: 0.005, per_token: 2.5e-5),
    output: (batch_metrics: true),
)"#;

/// Runs the tight scenario with a policy through the program. Returns the files of the result
/// folder, but the log, which has times in it.
fn results(plugin: &dyn Plugin, policy: &str, exact_steps: bool) -> Vec<(String, String)> {
    let room = tempfile::tempdir().unwrap();
    let (file, out) = (room.path().join("s.ron"), room.path().join("out"));
    fs::write(&file, TIGHT.replace("POLICY", policy)).unwrap();
    let mut arguments = vec!["vidur-ecs".into(), "run".into(), "--quiet".into()];
    if exact_steps {
        arguments.push("--exact-steps".into());
    }
    arguments.extend(["--out".into(), out.clone().into_os_string(), file.into_os_string()]);
    let code = vidur_ecs::cli::run_with(&[plugin], arguments);
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
    let files = files_of(&out);
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn files_of(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name != "run.log" {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The records of a run.
#[derive(Default)]
struct Records(Vec<RequestRecord>);

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.0.push(record.clone());
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// The random scenario of a seed under a policy, with what a plug-in adds.
fn spec(seed: u64, policy: Box<dyn AnyPolicy>, extensions: &Extensions) -> SimSpec {
    let scenario = RandomScenario::new(seed);
    SimSpec { extensions: extensions.clone(), ..scenario.spec(policy) }
}

/// Runs it to its end.
fn run(spec: SimSpec) -> Result<(Simulation, Vec<RequestRecord>), SimError> {
    let mut records = Records::default();
    let mut simulation = Simulation::new(spec)?;
    simulation.run(&mut records)?;
    Ok((simulation, records.0))
}

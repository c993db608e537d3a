//! A system in Metrics that keeps a time series of its own: how far each request is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use vidur_ecs::base::Nanos;
use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::VllmV0;
use vidur_ecs::engine::state::request::Request;
use vidur_ecs::engine::{Extensions, Progress, RequestProgress, StepSet};
use vidur_ecs::registry::{Plugin, SimBuilder};

/// What was seen, by time and request; of several steps at a time the last.
type Seen = BTreeMap<(Nanos, u64), RequestProgress>;

#[derive(Resource, Clone, Default)]
struct Series(Arc<Mutex<Seen>>);

fn record(series: Res<Series>, requests: Query<(Entity, &Request)>, progress: Progress) {
    let mut seen = series.0.lock().unwrap();
    for (entity, request) in &requests {
        let progress_of_it = progress.of(entity).expect("every request is somewhere");
        seen.insert((progress.now(), request.id), progress_of_it);
    }
}

struct Recorder(Series);

impl Plugin for Recorder {
    fn build(&self, builder: &mut SimBuilder) {
        builder.insert_resource(self.0.clone()).add_systems(StepSet::Metrics, record);
    }
}

fn seen_in(seed: u64, exact_steps: bool) -> (Seen, Vec<vidur_ecs::records::RequestRecord>) {
    let series = Series::default();
    let mut extensions = Extensions::default();
    extensions.insert_resource(series.clone()).add_systems(StepSet::Metrics, record);
    let mut spec = crate::spec(seed, Box::new(VllmV0::default()), &extensions);
    spec.exact_steps = exact_steps;
    // Several replicas take several iterations at once only where nobody listens to each batch.
    spec.batch_records = vidur_ecs::records::BatchRecords::Off;
    let (_, records) = crate::run(spec).unwrap();
    let seen = series.0.lock().unwrap().clone();
    (seen, records)
}

/// What a request has in the middle of a run of iterations is what single steps give it.
#[test]
fn progress_is_exact_in_the_middle_of_a_run() {
    let (mut compared, mut fewer) = (0, 0);
    for seed in 0..80 {
        let (fast, records) = seen_in(seed, false);
        let (exact, _) = seen_in(seed, true);
        for (at, progress) in &fast {
            assert_eq!(Some(progress), exact.get(at), "seed {seed}: {at:?}");
            compared += 1;
        }
        fewer += usize::from(fast.len() < exact.len());
        for record in &records {
            let last = exact.range(..).rev().find(|((_, id), _)| *id == record.id).unwrap();
            if record.completed_at == Some(last.0.0) && record.first_token_at.is_some() {
                assert_eq!(last.1.output_tokens, record.output_tokens, "seed {seed}");
            }
        }
    }
    assert!(compared > 10_000 && fewer > 20, "{compared} compared, {fewer} with runs");
}

/// The system changes nothing of the results, and each simulation of a scenario has its own copy.
#[test]
fn the_program_runs_it_too() {
    struct Nothing;
    impl Plugin for Nothing {
        fn build(&self, _: &mut SimBuilder) {}
    }
    let series = Series::default();
    let with = crate::results(&Recorder(series.clone()), "VllmV0()", false);
    assert_eq!(with, crate::results(&Nothing, "VllmV0()", false));
    let seen = series.0.lock().unwrap();
    let ids: std::collections::BTreeSet<u64> = seen.keys().map(|(_, id)| *id).collect();
    // The estimate of the capacity simulates more requests, which arrive all at once.
    assert!(ids.len() >= 400, "{}", ids.len());
}

//! Observers of what happens to requests.

use std::sync::{Arc, Mutex};

use vidur_ecs::base::Nanos;
use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::VllmV0;
use vidur_ecs::engine::state::request::Request;
use vidur_ecs::engine::{Admitted, Arrived, Extensions, Finished, FirstToken, Preempted, Rejected};
use vidur_ecs::records::RequestStatus;

/// What happened, in order: a letter, the request's id, the time.
#[derive(Resource, Clone, Default)]
struct Happened(Arc<Mutex<Vec<(char, u64, Nanos)>>>);

impl Happened {
    fn add(&self, letter: char, id: u64, at: Nanos) {
        self.0.lock().unwrap().push((letter, id, at));
    }
}

#[derive(Resource, Default)]
struct FirstTokens(u64);

fn count(_: On<FirstToken>, mut first_tokens: ResMut<FirstTokens>) {
    first_tokens.0 += 1;
}

#[test]
fn an_observer_counts_first_tokens() {
    let mut extensions = Extensions::default();
    extensions.init_resource::<FirstTokens>().add_observer::<FirstToken, _>(count);
    let mut preempted = 0;
    for seed in 0..40 {
        let policy = Box::new(VllmV0::default());
        let (simulation, records) = crate::run(crate::spec(seed, policy, &extensions)).unwrap();
        let finished = records.iter().filter(|record| record.status == RequestStatus::Finished);
        let counted = simulation.world().resource::<FirstTokens>().0;
        assert_eq!(counted, finished.count() as u64, "seed {seed}");
        preempted += records.iter().filter(|record| record.restarts > 0).count();
    }
    assert!(preempted > 0, "a request that starts again has one first token");
}

/// Each observer sees the request's components, also those of requests that have just ended.
#[test]
fn a_request_arrives_is_admitted_and_ends() {
    let happened = Happened::default();
    let mut extensions = Extensions::default();
    extensions
        .insert_resource(happened.clone())
        .add_observer::<Arrived, _>(|e: On<Arrived>, all: Res<Happened>| all.add('a', e.id, e.at))
        .add_observer::<Admitted, _>(|e: On<Admitted>, all: Res<Happened>| {
            all.add('+', e.id, e.at);
        })
        .add_observer::<FirstToken, _>(|e: On<FirstToken>, all: Res<Happened>| {
            all.add('1', e.id, e.at);
        })
        .add_observer::<Preempted, _>(|e: On<Preempted>, all: Res<Happened>| {
            all.add('-', e.id, e.at);
        })
        .add_observer::<Finished, _>(
            |e: On<Finished>, all: Res<Happened>, requests: Query<&Request>| {
                assert_eq!(requests.get(e.request).unwrap().id, e.id);
                all.add('f', e.id, e.at);
            },
        )
        .add_observer::<Rejected, _>(|e: On<Rejected>, all: Res<Happened>| {
            all.add('r', e.id, e.at);
        });
    let mut preemptions = 0;
    for seed in 0..40 {
        happened.0.lock().unwrap().clear();
        let policy = Box::new(VllmV0::default());
        let (_, records) = crate::run(crate::spec(seed, policy, &extensions)).unwrap();
        let all = happened.0.lock().unwrap().clone();
        assert!(all.is_sorted_by_key(|(_, _, at)| *at), "seed {seed}");
        for record in &records {
            let own = all.iter().filter(|(_, id, _)| *id == record.id);
            let letters: String = own.clone().map(|(letter, ..)| letter).collect();
            let expected = match record.status {
                RequestStatus::Rejected(_) => "ar".to_owned(),
                // Whether the first token came before the first preemption is seen below.
                _ => format!("a+{}f", "-+".repeat(record.restarts as usize)),
            };
            assert_eq!(letters.replace('1', ""), expected, "seed {seed}, {}", record.id);
            let at = |letter| own.clone().find(|(is, ..)| *is == letter).map(|(_, _, at)| *at);
            assert_eq!(at('+'), record.scheduled_at);
            assert_eq!(at('1'), record.first_token_at);
            assert_eq!(at('f').or(at('r')), record.completed_at);
            preemptions += record.restarts;
        }
    }
    assert!(preemptions > 0);
}

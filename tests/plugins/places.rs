//! Systems before, in and after the sets of a step.

use std::sync::{Arc, Mutex};

use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::VllmV0;
use vidur_ecs::engine::state::batch::Batch;
use vidur_ecs::engine::{Extensions, SimState, StepPlace, StepSet};

/// Names of places, in the order in which systems ran there, step by step.
#[derive(Resource, Clone, Default)]
struct Order(Arc<Mutex<Vec<(u64, StepPlace)>>>);

fn extensions_everywhere(order: &Order) -> Extensions {
    let mut extensions = Extensions::default();
    extensions.insert_resource(order.clone());
    // Added from the last to the first: the sets decide, not the order of adding.
    for set in StepSet::ALL.into_iter().rev() {
        for place in [StepPlace::After(set), StepPlace::In(set), StepPlace::Before(set)] {
            extensions.add_systems(place, move |order: Res<Order>, state: Res<SimState>| {
                order.0.lock().unwrap().push((state.now().0, place));
            });
        }
    }
    extensions
}

#[test]
fn systems_run_where_they_were_put() {
    let order = Order::default();
    let extensions = extensions_everywhere(&order);
    for seed in 0..10 {
        order.0.lock().unwrap().clear();
        let policy = Box::new(VllmV0::default());
        let with = crate::run(crate::spec(seed, policy.clone(), &extensions)).unwrap().1;
        let without = crate::run(crate::spec(seed, policy, &Extensions::default())).unwrap().1;
        assert_eq!(format!("{with:?}"), format!("{without:?}"), "they change nothing");
        let ran = order.0.lock().unwrap().clone();
        // Every step begins before Completion and ends after Metrics.
        let steps: Vec<&[(u64, StepPlace)]> =
            ran.chunk_by(|_, (_, next)| *next != StepPlace::Before(StepSet::Completion)).collect();
        let mut with_arrivals = 0;
        for step in &steps {
            let sets: Vec<(StepSet, StepPlace)> =
                step.iter().map(|(_, place)| (place.set(), *place)).collect();
            let few = sets.len() == 3 * 6;
            assert!(few || sets.len() == 3 * 10, "{sets:?}");
            with_arrivals += usize::from(!few);
            let expected = StepSet::ALL.into_iter().filter(|set| !few || !set.needs_arrivals());
            let expected: Vec<(StepSet, StepPlace)> = expected
                .flat_map(|set| {
                    [StepPlace::Before(set), StepPlace::In(set), StepPlace::After(set)]
                        .map(|place| (set, place))
                })
                .collect();
            assert_eq!(sets, expected);
        }
        assert!(with_arrivals > 0 && with_arrivals < steps.len());
    }
}

/// Entities of a plug-in's own, made through commands, are there for the systems after it.
#[test]
fn commands_take_effect_within_the_step() {
    #[derive(Component)]
    struct Mark;
    #[derive(Resource, Default)]
    struct Marks(usize);
    let mut extensions = Extensions::default();
    extensions
        .init_resource::<Marks>()
        .add_systems(StepPlace::Before(StepSet::Scheduling), |mut commands: Commands| {
            commands.spawn(Mark);
        })
        .add_systems(
            StepPlace::After(StepSet::Scheduling),
            |marks: Query<&Mark>, mut seen: ResMut<Marks>, batches: Query<&Batch>| {
                assert!(!batches.is_empty());
                assert_eq!(marks.iter().count(), seen.0 + 1);
                seen.0 += 1;
            },
        );
    let policy = Box::new(VllmV0::default());
    let (simulation, _) = crate::run(crate::spec(1, policy, &extensions)).unwrap();
    assert_eq!(simulation.world().resource::<Marks>().0 as u64, simulation.steps());
}

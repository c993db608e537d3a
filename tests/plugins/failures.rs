//! What goes wrong in a plug-in ends the run with a message.

use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::{Plans, VllmV0};
use vidur_ecs::engine::state::kv::KvBlock;
use vidur_ecs::engine::state::request::{Request, RequestState};
use vidur_ecs::engine::{Extensions, Finished, SimState, StepPlace, StepSet};

fn message(seed: u64, extensions: &Extensions) -> String {
    let spec = crate::spec(seed, Box::new(VllmV0::default()), extensions);
    crate::run(spec).err().expect("the run fails").to_string()
}

#[derive(Resource, Default)]
struct Ran(u32);

#[test]
fn a_system_that_fails_ends_the_run_and_those_after_it_do_nothing() {
    let mut extensions = Extensions::default();
    extensions
        .init_resource::<Ran>()
        .add_systems(StepSet::Completion, || -> Result<(), String> { Err("no more".to_owned()) })
        .add_systems(StepSet::Metrics, |mut ran: ResMut<Ran>| ran.0 += 1);
    let spec = crate::spec(1, Box::new(VllmV0::default()), &extensions);
    let mut simulation = vidur_ecs::engine::Simulation::new(spec).unwrap();
    let mut records = crate::Records::default();
    let error = simulation.run(&mut records).err().unwrap().to_string();
    assert!(error.contains("a system of a plug-in: no more"), "{error}");
    assert_eq!(simulation.world().resource::<Ran>().0, 0);
    assert!(simulation.step(&mut records).is_err(), "it stays failed");
}

#[test]
fn an_observer_that_fails_ends_the_run() {
    let mut extensions = Extensions::default();
    extensions.add_observer::<Finished, _>(|_: On<Finished>, missing: Query<&Request>| {
        assert!(!missing.is_empty(), "it is there until the end of the step");
    });
    crate::run(crate::spec(1, Box::new(VllmV0::default()), &extensions)).unwrap();
    extensions.add_observer::<Finished, _>(|_: On<Finished>| panic!("an observer's own"));
    let error = message(1, &extensions);
    assert!(error.contains("an observer's own"), "{error}");
}

#[test]
fn a_request_that_a_plug_in_despawned_is_missed() {
    let mut extensions = Extensions::default();
    extensions.add_systems(
        StepPlace::Before(StepSet::Completion),
        |mut commands: Commands, requests: Query<(Entity, &Request)>| {
            for (entity, request) in &requests {
                if request.state == RequestState::Running {
                    commands.entity(entity).despawn();
                }
            }
        },
    );
    for seed in 0..20 {
        let error = message(seed, &extensions);
        assert!(error.starts_with("the simulation failed at"), "{error}");
    }
}

#[test]
fn a_block_that_a_plug_in_despawned_is_missed() {
    let mut extensions = Extensions::default();
    extensions.add_systems(
        StepPlace::After(StepSet::Transfer),
        |mut commands: Commands, blocks: Query<Entity, With<KvBlock>>| {
            if let Some(block) = blocks.iter().next() {
                commands.entity(block).despawn();
            }
        },
    );
    let error = message(1, &extensions);
    assert!(error.contains("the entities of KV blocks are not in one table"), "{error}");
}

/// Wherever it is removed.
#[test]
fn a_state_that_a_plug_in_removed_is_missed() {
    for set in StepSet::ALL {
        let mut extensions = Extensions::default();
        extensions.add_systems(set, |world: &mut World| {
            world.remove_resource::<SimState>();
        });
        let error = message(1, &extensions);
        assert!(error.contains("SimState"), "{set:?}: {error}");
    }
    let mut extensions = Extensions::default();
    extensions.add_observer::<Finished, _>(|_: On<Finished>, mut commands: Commands| {
        commands.remove_resource::<SimState>();
    });
    let error = message(1, &extensions);
    assert!(error.contains("SimState"), "{error}");
}

#[test]
fn a_plan_that_is_left_open_is_reported() {
    let mut extensions = Extensions::default();
    extensions.plan_by_system::<VllmV0, _, _>(|mut plans: Plans| {
        for replica in plans.ready() {
            plans.begin(replica);
        }
    });
    let error = message(1, &extensions);
    assert!(error.contains("left a plan open"), "{error}");
}

/// Each simulation has its own copy of a system: what one keeps, another does not see.
#[test]
fn simulations_share_nothing() {
    let mut extensions = Extensions::default();
    extensions.init_resource::<Ran>().add_systems(
        StepSet::Completion,
        |mut ran: ResMut<Ran>, mut own: Local<u32>| {
            *own += 1;
            ran.0 = *own;
        },
    );
    let steps = |seed| {
        let spec = crate::spec(seed, Box::new(VllmV0::default()), &extensions);
        let (simulation, _) = crate::run(spec).unwrap();
        assert_eq!(u64::from(simulation.world().resource::<Ran>().0), simulation.steps());
        simulation.steps()
    };
    assert_eq!(steps(2), steps(2));
}

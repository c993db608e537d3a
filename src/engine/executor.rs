//! Runs the engine's own systems.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bevy_ecs::error::{BevyError, ErrorContext};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{FixedBitSet, SystemExecutor, SystemSchedule};
use bevy_ecs::system::RunSystemError;

/// Runs all systems of a schedule in their order, for schedules whose systems have no conditions
/// and queue no commands.
///
/// bevy_ecs's own executor looks for both, and catches a panic of each system: with systems as
/// short as those of a step, a fourteenth of a run. Here a panic ends the schedule's run, and the
/// systems after it do nothing.
#[derive(Debug)]
pub(crate) struct PlainExecutor;

impl SystemExecutor for PlainExecutor {
    fn init(&mut self, _: &SystemSchedule) {}

    fn run(
        &mut self,
        schedule: &mut SystemSchedule,
        world: &mut World,
        _: Option<&FixedBitSet>,
        error_handler: fn(BevyError, ErrorContext),
    ) {
        // SAFETY: the systems are only run, by a method of their trait.
        let systems = unsafe { schedule.systems_mut() };
        let mut left = systems.as_mut_slice();
        let mut run_all = || {
            while let Some(system) = left.first_mut() {
                if let Err(RunSystemError::Failed(error)) =
                    system.run_without_applying_deferred((), world)
                {
                    error_handler(error, context_of(system));
                }
                left = &mut std::mem::take(&mut left)[1..];
            }
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(&mut run_all))
            && let Some(system) = left.first()
        {
            error_handler(BevyError::panic("a system panicked", payload), context_of(system));
        }
    }

    fn set_apply_final_deferred(&mut self, _: bool) {}
}

#[cold]
fn context_of(system: &impl System) -> ErrorContext {
    ErrorContext::System { name: system.name(), last_run: system.get_last_run() }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bevy_ecs::error::FallbackErrorHandler;
    use bevy_ecs::schedule::ScheduleLabel;

    use super::*;

    #[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
    struct Test;

    #[derive(Resource, Default)]
    struct Ran(Vec<u32>);

    thread_local! {
        static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn keep(error: BevyError, context: ErrorContext) {
        ERRORS.with_borrow_mut(|errors| errors.push(format!("{context}: {error}")));
    }

    fn first(mut ran: ResMut<Ran>) {
        ran.0.push(1);
    }

    /// What an exclusive system spawns is there for the next one.
    fn second(world: &mut World) {
        world.spawn_empty();
        world.resource_mut::<Ran>().0.push(2);
    }

    fn fails(mut ran: ResMut<Ran>) -> Result {
        ran.0.push(3);
        Err("no more".into())
    }

    fn panics(ran: Res<Ran>) {
        assert_eq!(ran.0, [1, 2, 3], "not before the others");
        panic!("an accident");
    }

    fn last(mut ran: ResMut<Ran>) {
        ran.0.push(5);
    }

    /// An error goes to the handler, and so does a panic, which ends the schedule's run.
    #[test]
    fn systems_run_in_order_until_one_panics() {
        let mut world = World::new();
        world.init_resource::<Ran>();
        world.insert_resource(FallbackErrorHandler(keep));
        let mut schedule = Schedule::new(Test);
        schedule.set_executor(PlainExecutor);
        schedule.add_systems((first, second, fails, panics, last).chain());
        for _ in 0..2 {
            world.resource_mut::<Ran>().0.clear();
            schedule.run(&mut world);
            assert_eq!(world.resource::<Ran>().0, [1, 2, 3]);
            let errors = ERRORS.take();
            assert_eq!(errors.len(), 2, "{errors:?}");
            assert!(errors[0].contains("fails") && errors[0].contains("no more"), "{errors:?}");
            assert!(errors[1].contains("panics"), "{errors:?}");
        }
    }
}

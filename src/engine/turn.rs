//! The turn of the replicas: everything that a step does between routing and recording.

use bevy_ecs::prelude::*;

use super::finish::finish;
use super::launch::{cut_off_runs, launch};
use super::{Control, Floor, StepSystem};
use crate::engine::policy::{Policy, Scratch, plan};

/// Which system of the Turn phase this is: there is one for each type of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnPart {
    /// Whether it is the first: it commits what ends.
    pub first: bool,
    /// Whether it is the last: it launches what was planned.
    pub last: bool,
}

/// Turn phase: cuts off the runs of replicas that got a request, commits the iterations that end now,
/// lets the replicas with policy `P` plan, and launches batches.
///
/// One system and not four: fetching the queries of each would take as long as what many of them do in
/// a step.
pub(crate) fn turn<P: Policy>(part: TurnPart) -> StepSystem {
    StepSystem::new(
        move |InMut(control): InMut<Control>,
              mut floor: Floor,
              mut policies: Query<&mut P>,
              mut scratch: Local<Scratch>|
              -> Result {
            if part.first {
                if control.lists.routed {
                    cut_off_runs(control, &mut floor)?;
                }
                // A run may have been cut off at a boundary that is now.
                if control.agenda.is_due() {
                    finish(control, &mut floor, &mut scratch.changes)?;
                }
            }
            if !control.lists.is_to_plan() {
                return Ok(());
            }
            plan(control, &mut floor, &mut policies, &mut scratch)?;
            if part.last {
                launch(control, &mut floor)?;
            }
            Ok(())
        },
    )
}

/// Finish phase, where requests arrive in the same step or pools hand over: commits the iterations that
/// end now.
pub(super) fn finish_first(
    InMut(control): InMut<Control>,
    mut floor: Floor,
    mut scratch: Local<Scratch>,
) -> Result {
    finish(control, &mut floor, &mut scratch.changes)
}

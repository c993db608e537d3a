//! What every phase works on, as one resource.

use bevy_ecs::prelude::*;

use super::arrive::Arrivals;
use super::{Agenda, Engine, Ledger, Worklists};

/// The clock and what is to come, the lists between the phases and the books. One resource, of which
/// a system takes what it needs: fetching a resource costs as much as many systems do in a step.
#[derive(Resource)]
pub(crate) struct Control {
    /// What does not change.
    pub engine: Engine,
    pub agenda: Agenda,
    pub arrivals: Arrivals,
    pub lists: Worklists,
    pub ledger: Ledger,
}

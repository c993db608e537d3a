//! Asynchronous scheduling: the next batch is planned when the one before it starts.

use bevy_ecs::prelude::*;

use super::request::Sequence;
use crate::base::Nanos;

/// What a replica that plans asynchronously keeps between plans.
#[derive(Component, Debug, Default)]
pub(crate) struct AsyncPlanning {
    /// Requests that ended with the last batch, whose places and blocks are free only after the
    /// next plan, which was made before.
    pub finished: Vec<Sequence>,
    /// The next plan sees only requests that had arrived by then; all of them if `None`.
    pub cutoff: Option<Nanos>,
}

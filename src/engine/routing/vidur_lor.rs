//! Vidur's "least outstanding requests", which does not count what runs.

use serde::{Deserialize, Serialize};

use super::least_outstanding::LoadOrder;
use super::{Loads, RouteRequest, Router};
use crate::base::RandomStream;

/// The replica with the shortest waiting queue; the lowest index on a tie. Running requests do
/// not count, so replica 0 gets everything until requests wait there. For parity with Vidur's
/// `lor`; use [`super::LeastOutstanding`] for the real thing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VidurLor {
    #[serde(skip)]
    order: LoadOrder,
}

impl Router for VidurLor {
    const NAME: &'static str = "VidurLor";
    const ABOUT: &'static str = "the shortest waiting queue, as Vidur's `lor` (ignores running)";

    fn route(&mut self, _: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        self.order.update(loads, Loads::waiting);
        self.order.least()
    }
}

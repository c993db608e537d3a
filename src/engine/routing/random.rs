//! Any replica with equal probability.

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::RandomStream;

/// A replica drawn uniformly.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {}

impl Router for Random {
    const NAME: &'static str = "Random";
    const ABOUT: &'static str = "a replica drawn uniformly";

    fn route(&mut self, _: &RouteRequest, loads: &mut Loads, random: &mut RandomStream) -> u32 {
        random.below(u64::from(loads.replicas())) as u32
    }
}

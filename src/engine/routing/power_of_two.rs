//! The less loaded of two replicas drawn at random (Mitzenmacher, "The power of two choices in
//! randomized load balancing", 2001).

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::RandomStream;

/// Draws two different replicas and takes the one with fewer outstanding requests; the first
/// drawn on a tie.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerOfTwo {}

impl Router for PowerOfTwo {
    const NAME: &'static str = "PowerOfTwo";
    const ABOUT: &'static str = "the less loaded of two replicas drawn at random";

    fn route(&mut self, _: &RouteRequest, loads: &mut Loads, random: &mut RandomStream) -> u32 {
        let replicas = u64::from(loads.replicas());
        let first = random.below(replicas);
        if replicas == 1 {
            return first as u32;
        }
        let second = (first + 1 + random.below(replicas - 1)) % replicas;
        let (first, second) = (first as u32, second as u32);
        if loads.outstanding(second) < loads.outstanding(first) { second } else { first }
    }
}

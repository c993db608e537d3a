//! Routers: which replica serves a request. One file each, and a line in
//! [`crate::registry::Registry::built_in`].

mod least_outstanding;
mod loads;
mod power_of_two;
mod random;
mod round_robin;
mod vidur_lor;

use bevy_ecs::component::Mutable;
use bevy_ecs::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use least_outstanding::LeastOutstanding;
pub use loads::Loads;
pub use power_of_two::PowerOfTwo;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use vidur_lor::VidurLor;

use crate::cluster::Replica;
use crate::request::{Request, Sequence};
use crate::scenario::SettingError;
use crate::sim::{Ledger, RandomStream, Touched};

/// What a router knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest {
    /// Its id.
    pub id: u64,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
}

/// A routing policy. It is a resource of the simulation and its own settings at once: the fields
/// that serde sees are what a scenario may set, the others are state.
pub trait Router:
    Resource + Component<Mutability = Mutable> + Clone + Serialize + DeserializeOwned
{
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Complains about settings that make no sense.
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }

    /// Index of the replica for `request`. `loads` counts every request that was routed before,
    /// also at this very time. `random` is the stream of this purpose alone.
    fn route(
        &mut self,
        request: &RouteRequest,
        loads: &mut Loads,
        random: &mut RandomStream,
    ) -> u32;
}

/// Random numbers for routers.
#[derive(Resource)]
pub(crate) struct RoutingRandom(pub RandomStream);

/// Requests that arrived in this step and are not routed yet.
#[derive(Resource, Default)]
pub(crate) struct Incoming(pub Vec<Sequence>);

/// The replicas' entities, by index.
#[derive(Resource)]
pub(crate) struct ReplicaEntities(pub Vec<Entity>);

/// Route phase: puts each new request into a replica's waiting queue.
#[allow(clippy::too_many_arguments)] // a system's parameters are its data dependencies
pub(crate) fn route<R: Router>(
    mut router: ResMut<R>,
    mut incoming: ResMut<Incoming>,
    mut loads: ResMut<Loads>,
    mut random: ResMut<RoutingRandom>,
    entities: Res<ReplicaEntities>,
    mut replicas: Query<&mut Replica>,
    mut requests: Query<&mut Request>,
    mut touched: ResMut<Touched>,
    mut ledger: ResMut<Ledger>,
) -> Result {
    if incoming.0.is_empty() {
        return Ok(());
    }
    for sequence in incoming.0.drain(..) {
        let mut request = requests.get_mut(sequence.entity)?;
        let facts = RouteRequest { id: request.id, prompt_tokens: request.prompt_tokens };
        let index = router.route(&facts, &mut loads, &mut random.0);
        let Some(&entity) = entities.0.get(index as usize) else {
            return Err(format!(
                "router {} chose replica {index}, but there are {}",
                R::NAME,
                entities.0.len()
            )
            .into());
        };
        request.replica = Some(index);
        replicas.get_mut(entity)?.waiting.push_back(sequence);
        loads.add_waiting(index, 1);
        ledger.counts.waiting += 1;
        touched.add(index, entity);
    }
    Ok(())
}

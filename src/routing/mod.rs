//! Routers: which replica serves a request. One file each, and a line in
//! [`crate::registry::Registry::built_in`].

mod least_outstanding;
mod loads;
mod power_of_two;
mod prefix_affinity;
mod prefix_index;
mod random;
mod round_robin;
mod vidur_lor;
mod vllm_data_parallel;

use bevy_ecs::component::Mutable;
use bevy_ecs::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use least_outstanding::LeastOutstanding;
pub use loads::Loads;
pub use power_of_two::PowerOfTwo;
pub use prefix_affinity::PrefixAffinity;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use vidur_lor::VidurLor;
pub use vllm_data_parallel::VllmDataParallel;

use crate::cluster::Replica;
use crate::kv::{PrefixHash, PrefixHashes};
use crate::request::Request;
use crate::scenario::SettingError;
use crate::sim::{Agenda, Engine, Ledger, Nanos, RandomStream, Worklists};

/// What a router knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// Its id.
    pub id: u64,
    /// Now.
    pub now: Nanos,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Identities of the full KV blocks of its prompt, each of the block's tokens and all before
    /// them. Empty if prefix caching is off.
    pub prefix: &'a [PrefixHash],
    /// Tokens per KV block.
    pub block_size: u32,
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

#[allow(clippy::too_many_arguments)] // a system's parameters are its data dependencies
/// Route phase: puts each new request into a replica's waiting queue.
pub(crate) fn route<R: Router>(
    agenda: Res<Agenda>,
    mut router: ResMut<R>,
    mut random: ResMut<RoutingRandom>,
    engine: Res<Engine>,
    mut lists: ResMut<Worklists>,
    mut ledger: ResMut<Ledger>,
    mut replicas: Query<&mut Replica>,
    mut requests: Query<(&mut Request, Option<&PrefixHashes>)>,
) -> Result {
    let lists = &mut *lists;
    for sequence in lists.incoming.drain(..) {
        let (mut request, hashes) = requests.get_mut(sequence.entity)?;
        let block_size = engine.limits.block_size;
        let prefix =
            hashes.map_or(&[][..], |hashes| hashes.of_prompt(request.prompt_tokens, block_size));
        let facts = RouteRequest {
            id: request.id,
            now: agenda.now(),
            prompt_tokens: request.prompt_tokens,
            prefix,
            block_size,
        };
        let index = router.route(&facts, &mut ledger.loads, &mut random.0);
        let Some(&entity) = engine.replicas.get(index as usize) else {
            return Err(format!(
                "router {} chose replica {index}, but there are {}",
                R::NAME,
                engine.replicas.len()
            )
            .into());
        };
        request.replica = Some(index);
        replicas.get_mut(entity)?.waiting.push_back(sequence);
        ledger.loads.add_waiting(index, 1);
        ledger.counts.waiting += 1;
        lists.touched.add(index, entity);
    }
    Ok(())
}

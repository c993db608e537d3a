//! Routers: which replica serves a request. One file each, and a line in
//! [`crate::registry::Registry::built_in`].

mod any;
mod least_outstanding;
mod loads;
mod lora_affinity;
mod power_of_two;
mod prefix_affinity;
mod prefix_index;
mod random;
mod round_robin;
mod vidur_lor;
mod vllm_data_parallel;

use bevy_ecs::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use any::AnyRouter;
pub use least_outstanding::LeastOutstanding;
pub use loads::Loads;
pub(crate) use loads::PoolLoads;
pub use lora_affinity::LoraAffinity;
pub use power_of_two::PowerOfTwo;
pub use prefix_affinity::PrefixAffinity;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use vidur_lor::VidurLor;
pub use vllm_data_parallel::VllmDataParallel;

use crate::base::{Nanos, RandomStream, SettingError};
use crate::engine::Control;
use crate::engine::state::Replica;
use crate::engine::state::kv::{PrefixHash, PrefixHashes};
use crate::engine::state::request::Request;

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
    /// The LoRA adapter that it wants; `None` for the model itself.
    pub adapter: Option<u32>,
}

/// A routing policy, which is its own settings at once: the fields that serde sees are what a
/// scenario may set, the others are state. Every pool of replicas has a router of its own.
pub trait Router: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Whether it is only of use where LoRA adapters are served.
    const NEEDS_ADAPTERS: bool = false;

    /// Complains about settings that make no sense.
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }

    /// Number of the replica for `request`, counted in the router's pool. `loads` counts every request that was routed before,
    /// also at this very time. `random` is the stream of this purpose alone.
    fn route(
        &mut self,
        request: &RouteRequest,
        loads: &mut Loads,
        random: &mut RandomStream,
    ) -> u32;
}

/// The routers of one type, by pool, each with its random numbers.
#[derive(Resource)]
pub(crate) struct Routers<R: Router>(Vec<Option<(R, RandomStream)>>);

impl<R: Router> Routers<R> {
    /// Puts a pool's router into the world.
    pub fn add(world: &mut World, router: R, pool: u32, random: RandomStream) {
        let mut routers = world.get_resource_or_insert_with(|| Routers::<R>(Vec::new()));
        let slots = &mut routers.0;
        slots.resize_with(slots.len().max(pool as usize + 1), || None);
        slots[pool as usize] = Some((router, random));
    }

    fn of(&mut self, pool: u32) -> Option<&mut (R, RandomStream)> {
        self.0.get_mut(pool as usize)?.as_mut()
    }
}

/// Route phase: puts each new request of the pools with this router into a replica's waiting
/// queue.
pub(crate) fn route<R: Router>(
    InMut(control): InMut<Control>,
    mut routers: ResMut<Routers<R>>,
    mut replicas: Query<&mut Replica>,
    mut requests: Query<(&mut Request, Option<&PrefixHashes>)>,
) -> Result {
    let Control { engine, agenda, lists, ledger, .. } = control;
    let mut incoming = std::mem::take(&mut lists.incoming);
    for (pool, sequence) in incoming.drain(..) {
        let Some((router, random)) = routers.of(pool) else {
            lists.incoming.push((pool, sequence));
            continue;
        };
        let (mut request, hashes) = requests.get_mut(sequence.entity)?;
        let block_size = engine.pool(pool).limits.block_size;
        let prefix =
            hashes.map_or(&[][..], |hashes| hashes.of_prompt(request.prompt_tokens, block_size));
        let facts = RouteRequest {
            id: request.id,
            now: agenda.now(),
            prompt_tokens: request.prompt_tokens,
            prefix,
            block_size,
            adapter: request.adapter,
        };
        let loads = ledger.loads.of(pool);
        let chosen = router.route(&facts, loads, random);
        if chosen >= loads.replicas() {
            let there = loads.replicas();
            return Err(format!(
                "router {} chose replica {chosen}, but there are {there}",
                R::NAME
            )
            .into());
        }
        let index = engine.pool(pool).first_replica + chosen;
        let entity = engine.replicas[index as usize];
        request.replica = Some(index);
        let mut replica = replicas.get_mut(entity)?;
        match sequence.prefilled {
            // Another pool hands it over.
            true => replica.transfers.handed.push(sequence),
            false => replica.waiting.push_back(sequence),
        }
        ledger.loads.add_waiting(index, 1);
        ledger.open(pool);
        ledger.counts.waiting += 1;
        lists.touched.add(index, entity);
    }
    if lists.incoming.is_empty() {
        // Its memory is used again.
        lists.incoming = incoming;
    }
    Ok(())
}

//! Routing: each request that was let in gets a replica.

use bevy_ecs::prelude::*;

use crate::base::RandomStream;
use crate::engine::SimState;
use crate::engine::hot_query::HotQuery;
use crate::engine::hot_state::HotState;
use crate::engine::lists::Incoming;
use crate::engine::routing::{RouteRequest, Router};
use crate::engine::state::Replica;
use crate::engine::state::kv::PrefixHashes;
use crate::engine::state::request::Request;
use crate::engine::state::transfers::Transfers;
use crate::engine::transition::{At, Standing};

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

/// Requests, and what a router sees of their prompts.
type RoutedParts = (&'static mut Request, Option<&'static PrefixHashes>);

/// Replicas, and what pools that hand over have beside.
type TargetParts = (&'static mut Replica, Option<&'static mut Transfers>);

/// Puts each new request of the pools with this router into a replica's waiting queue.
pub(crate) fn route_requests<R: Router>(
    mut state: HotState,
    mut routers: ResMut<Routers<R>>,
    mut replicas: HotQuery<TargetParts>,
    mut requests: HotQuery<RoutedParts>,
) {
    let state = &mut *state;
    if !state.lists.incoming.is_empty() {
        state.attempt("route_requests", |state| {
            route(state, &mut routers, &mut replicas, &mut requests)
        });
    }
}

fn route<R: Router>(
    state: &mut SimState,
    routers: &mut Routers<R>,
    replicas: &mut Query<'_, '_, TargetParts>,
    requests: &mut Query<'_, '_, RoutedParts>,
) -> Result {
    let SimState { engine, queue, lists, ledger, .. } = state;
    let mut incoming = std::mem::take(&mut lists.incoming);
    for Incoming { pool, mut sequence } in incoming.drain(..) {
        let Some((router, random)) = routers.of(pool) else {
            lists.incoming.push(Incoming { pool, sequence });
            continue;
        };
        let (mut request, hashes) = requests.get_mut(sequence.entity)?;
        let block_size = engine.pool(pool).limits.block_size;
        let prefix =
            hashes.map_or(&[][..], |hashes| hashes.of_prompt(request.prompt_tokens, block_size));
        let facts = RouteRequest {
            id: request.id,
            now: queue.now(),
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
        let (mut replica, transfers) = replicas.get_mut(entity)?;
        let (before, after) = (Standing::Unrouted, Standing::Waiting);
        let at = At { replica: &mut replica, adapters: None };
        ledger.transition(&mut sequence, Some(&mut request), at, before, after);
        match (sequence.prefilled, transfers) {
            (false, _) => replica.waiting.push_back(sequence),
            // Another pool hands it over.
            (true, Some(mut transfers)) => transfers.handed.push(sequence),
            (true, None) => {
                return Err(format!("replica {index} takes no requests from other pools").into());
            }
        }
        lists.ready.add(index, entity);
    }
    if lists.incoming.is_empty() {
        // Its memory is used again.
        lists.incoming = incoming;
    }
    Ok(())
}

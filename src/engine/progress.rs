//! How far requests are, at this very time.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::SimState;
use super::state::batch::Batch;
use super::state::request::{Request, RequestState, Sequence};
use super::state::transfers::Transfers;
use super::state::{AsyncPlanning, Batches, Replica, SwappedRequests};
use crate::base::Nanos;

/// Tells a system how far requests are now.
///
/// The engine launches several iterations at once where they repeat, and commits them when they are
/// over; what a request has in between is in no component. This counts the iterations that have
/// ended by now, so that the answer is what single steps would give. It looks through the requests
/// of a replica: whoever asks about all of them in every step slows the simulation down.
///
/// ```
/// use vidur_ecs::bevy_ecs::prelude::*;
/// use vidur_ecs::engine::Progress;
/// use vidur_ecs::engine::state::request::Request;
///
/// fn tokens_so_far(requests: Query<Entity, With<Request>>, progress: Progress) {
///     let of_one = |request| progress.of(request).map_or(0, |progress| progress.output_tokens);
///     let tokens: u32 = requests.iter().map(of_one).sum();
///     # let _ = tokens;
/// }
/// # let _ = IntoSystem::into_system(tokens_so_far);
/// ```
#[derive(SystemParam)]
pub struct Progress<'w, 's> {
    state: Res<'w, SimState>,
    requests: Query<'w, 's, &'static Request>,
    replicas: Query<'w, 's, Holders>,
    batches: Query<'w, 's, &'static Batch>,
}

/// Where the requests of a replica are.
type Holders = (
    &'static Replica,
    &'static Batches,
    Option<&'static SwappedRequests>,
    Option<&'static Transfers>,
    Option<&'static AsyncPlanning>,
);

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestProgress {
    /// Where it is.
    pub state: RequestState,
    /// Output tokens that it has, those from before a preemption included.
    pub output_tokens: u32,
    /// Tokens that are in the KV cache.
    pub kv_tokens: u32,
    /// KV blocks that it holds.
    pub kv_blocks: u32,
}

impl Progress<'_, '_> {
    /// The simulated time.
    pub fn now(&self) -> Nanos {
        self.state.now()
    }

    /// How far a request is now; `None` if the entity is no request.
    pub fn of(&self, request: Entity) -> Option<RequestProgress> {
        let about = self.requests.get(request).ok()?;
        let lists = &self.state.lists;
        let ended = lists.ended.iter().map(|ended| &ended.sequence);
        let mut unplaced = ended.chain(lists.incoming.iter().map(|incoming| &incoming.sequence));
        let (sequence, later) = match unplaced.find(|sequence| sequence.entity == request) {
            Some(sequence) => (*sequence, Later::default()),
            None => self.on_replica(request, about)?,
        };
        let processed = sequence.processed + later.iterations;
        let seen = if sequence.prefilled { processed } else { sequence.prompt };
        let kv_tokens = if sequence.prefilled { processed - 1 } else { processed };
        // The iteration that runs now has the block for its token.
        let grown = if later.grows { (kv_tokens + 1).div_ceil(later.block_size) } else { 0 };
        Some(RequestProgress {
            state: about.state,
            output_tokens: seen.saturating_sub(about.prompt_tokens),
            kv_tokens,
            kv_blocks: sequence.blocks.max(grown),
        })
    }

    /// A request on its replica as it was committed last, and what came since.
    fn on_replica(&self, request: Entity, about: &Request) -> Option<(Sequence, Later)> {
        let index = about.replica? as usize;
        let entity = *self.state.engine.replicas.get(index)?;
        let (replica, slots, swapped, transfers, planning) = self.replicas.get(entity).ok()?;
        let is_it = |sequence: &&Sequence| sequence.entity == request;
        let at_rest = replica
            .waiting
            .iter()
            .chain(&replica.running)
            .chain(swapped.iter().flat_map(|s| s.0.iter().map(|swapped| &swapped.sequence)))
            .chain(transfers.iter().flat_map(|t| t.handed.iter().chain(t.on_the_way())))
            .chain(planning.iter().flat_map(|planning| &planning.finished));
        if let Some(sequence) = { at_rest }.find(is_it) {
            return Some((*sequence, Later::default()));
        }
        let block_size = self.state.engine.pool(replica.pool_index).limits.block_size;
        for &slot in slots.entities() {
            let batch = self.batches.get(slot).ok()?;
            if let Some(sequence) = batch.members.iter().find(is_it) {
                return Some((*sequence, self.later(batch, block_size)));
            }
            if batch.with_group
                && replica.decoding.in_batch
                && let Some(sequence) = replica.decoding.members().find(|s| is_it(&s))
            {
                return Some((sequence, self.later(batch, block_size)));
            }
        }
        let idle = replica.decoding.members().find(|sequence| is_it(&sequence));
        idle.map(|sequence| (sequence, Later::default()))
    }

    /// What a batch under way has done since it was launched.
    fn later(&self, batch: &Batch, block_size: u32) -> Later {
        let iterations = batch.run.ended_by(self.now());
        Later { iterations, grows: iterations > 0 && batch.run.grows, block_size }
    }
}

/// Iterations that ended and are not committed.
#[derive(Clone, Copy, Default)]
struct Later {
    iterations: u32,
    /// Whether they took blocks as they needed them.
    grows: bool,
    block_size: u32,
}

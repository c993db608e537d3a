//! How requests move between waiting, running and ended, and what is counted then.

use super::Ledger;
use super::events::Lifecycle;
use super::lora::Adapters;
use super::state::Replica;
use super::state::request::{Request, RequestState, Sequence};

/// Where a request stands, as far as counts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On no replica: it has arrived, or was handed over. The replica that hands it over only keeps
    /// its KV blocks until they have been sent.
    Unrouted,
    /// In a replica's waiting queue, or preempted.
    Waiting,
    /// Admitted by a replica.
    Running,
    /// Gone from the replica.
    Ended,
}

impl Standing {
    /// How often it counts as waiting and as running.
    const fn counts(self) -> (u8, u8) {
        match self {
            Standing::Unrouted | Standing::Ended => (0, 0),
            Standing::Waiting => (1, 0),
            Standing::Running => (0, 1),
        }
    }

    const fn state(self) -> RequestState {
        match self {
            Standing::Running => RequestState::Running,
            Standing::Ended => RequestState::Ended,
            Standing::Unrouted | Standing::Waiting => RequestState::Waiting,
        }
    }
}

/// The replica on which a request moves.
pub(crate) struct At<'a> {
    /// The replica.
    pub replica: &'a mut Replica,
    /// Its LoRA adapters, if it serves any.
    pub adapters: Option<&'a mut Adapters>,
}

impl Ledger {
    /// Moves a request of a replica from one standing to another: its own state, the counts of the
    /// replica, of its pool and of the router, its hold on its LoRA adapter. What it holds of the
    /// KV cache is counted by [`Ledger::hold`] and [`Ledger::let_go`].
    ///
    /// `request` is `None` in tests only.
    pub fn transition(
        &mut self,
        member: &mut Sequence,
        request: Option<&mut Request>,
        at: At<'_>,
        from: Standing,
        to: Standing,
    ) {
        let At { replica, adapters } = at;
        let (before, after) = (from.counts(), to.counts());
        let counts = &mut self.pools[replica.pool_index as usize].counts;
        let waiting = (counts.waiting + u64::from(after.0)).checked_sub(before.0.into());
        let running = (counts.running + u64::from(after.1)).checked_sub(before.1.into());
        let admitted = (replica.num_admitted + u32::from(after.1)).checked_sub(before.1.into());
        let (Some(waiting), Some(running), Some(admitted)) = (waiting, running, admitted) else {
            let (id, index, counts) = (member.id, replica.index, *counts);
            self.note_fault(|| {
                format!(
                    "request {id} moves from {from:?} to {to:?} on replica {index}, \
                     but no request is there ({counts:?})"
                )
            });
            return;
        };
        (counts.waiting, counts.running) = (waiting, running);
        replica.num_admitted = admitted;
        let mut counted = true;
        if before.0 != after.0 {
            let change = i32::from(after.0) - i32::from(before.0);
            counted &= self.loads.add_waiting(replica.index, change);
        }
        if before.1 != after.1 {
            let change = i32::from(after.1) - i32::from(before.1);
            counted &= self.loads.add_running(replica.index, change);
        }
        if !counted {
            let (id, index) = (member.id, replica.index);
            self.note_fault(|| {
                format!("request {id} leaves replica {index}, but its router knows of none there")
            });
        }
        if to == Standing::Running {
            member.admission = replica.admissions;
            replica.admissions += 1;
        }
        if let Some(adapters) = adapters {
            match (before.1, after.1) {
                (0, 1) => adapters.admit(member.adapter),
                (1, 0) => adapters.leave(member.adapter),
                _ => {}
            }
        }
        if let Some(request) = request {
            request.state = to.state();
        }
        let on = Some(replica.index);
        match (from, to) {
            (Standing::Waiting, Standing::Running) => self.note(Lifecycle::Admitted, member, on),
            (Standing::Running, Standing::Waiting) => self.note(Lifecycle::Preempted, member, on),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy_ecs::prelude::*;

    use super::*;
    use crate::engine::state::batch::Form;
    use crate::engine::state::kv::BlockPool;

    #[test]
    fn a_request_that_is_not_there_is_a_fault() {
        let mut ledger = Ledger::new(&[1]);
        let mut replica = Replica::new(0, BlockPool::new(4, false), 16, Form::AlwaysPlain);
        let mut member = Sequence::nameless(Entity::PLACEHOLDER);
        let mut go = |from, to| {
            let at = At { replica: &mut replica, adapters: None };
            ledger.transition(&mut member, None, at, from, to);
            ledger.fault().map(str::to_owned)
        };
        assert_eq!(go(Standing::Unrouted, Standing::Waiting), None);
        assert_eq!(go(Standing::Waiting, Standing::Running), None);
        assert_eq!(go(Standing::Running, Standing::Unrouted), None);
        let fault = go(Standing::Running, Standing::Ended).unwrap();
        assert!(fault.contains("moves from Running to Ended on replica 0"), "{fault}");
        assert_eq!(replica.num_admitted, 0);
    }
}

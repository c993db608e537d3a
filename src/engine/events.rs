//! What happens to requests, for observers.
//!
//! An observer of one of these events is added by a plug-in. The events of a step are triggered at
//! its end, in the order in which they happened, before the requests that ended are despawned. What
//! nobody observes is not even listed.

use bevy_ecs::prelude::*;

use super::Ledger;
use super::state::request::Sequence;
use crate::base::Nanos;
use crate::records::{EventKind, EventRecord};

/// Declares the events, each of a request at a time, and the list of their kinds.
macro_rules! lifecycle {
    ($($(#[$about:meta])* $name:ident = $bit:literal,)*) => {
        $(
            $(#[$about])*
            #[derive(Event, Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name {
                /// The request's entity, with its [`crate::engine::state::request::Request`].
                pub request: Entity,
                /// The request's id.
                pub id: u64,
                /// When it happened.
                pub at: Nanos,
            }

            impl LifecycleEvent for $name {
                const KIND: Lifecycle = Lifecycle::$name;
            }
        )*

        /// Which of the events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Lifecycle {
            $(
                #[doc = concat!("[`", stringify!($name), "`].")]
                $name = $bit,
            )*
        }

        impl Happened {
            fn trigger(self, world: &mut World) {
                let Happened { kind, request, id, at } = self;
                match kind {
                    $(Lifecycle::$name => world.trigger($name { request, id, at }),)*
                }
            }
        }
    };
}

lifecycle! {
    /// A request has reached the engine.
    Arrived = 1,
    /// A replica has admitted a request: it holds KV blocks from now on. Again after each
    /// preemption, and when another pool takes it over.
    Admitted = 2,
    /// A request's prompt has been processed for the first time: its first output token is there.
    FirstToken = 4,
    /// A request had to give up its place and waits again.
    Preempted = 8,
    /// A request has all its tokens.
    Finished = 16,
    /// A request was refused: by admission control, by its policy, or because it fits no replica.
    Rejected = 32,
}

/// An event in the life of a request.
pub trait LifecycleEvent: Event {
    /// Which of them it is.
    const KIND: Lifecycle;
}

/// Something that happened to a request.
#[derive(Clone, Copy, Debug)]
struct Happened {
    kind: Lifecycle,
    request: Entity,
    id: u64,
    at: Nanos,
}

/// What happened in a step, as far as someone listens.
#[derive(Debug, Default)]
pub(crate) struct LifecycleLog {
    /// Kinds that someone observes, a bit each.
    heard: u8,
    list: Vec<Happened>,
}

impl LifecycleLog {
    /// A log of these kinds.
    pub fn of(kinds: impl Iterator<Item = Lifecycle>) -> LifecycleLog {
        LifecycleLog { heard: kinds.fold(0, |bits, kind| bits | kind as u8), list: Vec::new() }
    }

    /// Whether anything is listed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes out what is listed and triggers it.
    pub fn take(&mut self) -> impl FnOnce(&mut World) + use<> {
        let list = std::mem::take(&mut self.list);
        move |world| list.into_iter().for_each(|happened| happened.trigger(world))
    }
}

impl Lifecycle {
    /// What the sink of a run is told of it, if anything.
    fn recorded(self) -> Option<EventKind> {
        match self {
            Lifecycle::Arrived | Lifecycle::FirstToken => None,
            Lifecycle::Admitted => Some(EventKind::Admitted),
            Lifecycle::Preempted => Some(EventKind::Preempted),
            Lifecycle::Finished => Some(EventKind::Finished),
            Lifecycle::Rejected => Some(EventKind::Rejected),
        }
    }
}

impl Ledger {
    /// Lists something that happens to a request now, on this replica, if someone listens.
    #[inline]
    pub fn note(&mut self, kind: Lifecycle, member: &Sequence, replica: Option<u32>) {
        let time = self.now();
        if let (Some(events), Some(kind)) = (&mut self.events, kind.recorded()) {
            events.push(EventRecord { time, kind, request: member.id, replica });
        }
        if self.log.heard & kind as u8 != 0 {
            let (request, id, at) = (member.entity, member.id, self.now());
            self.log.list.push(Happened { kind, request, id, at });
        }
    }
}

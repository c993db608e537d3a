//! KV content on its way from one replica to another, under disaggregation.
//!
//! When a prompt is processed, the request leaves the running list of its prefill replica, and the
//! router of the decode pool picks a replica for it. It waits there, first come first served, until
//! blocks for its prompt and one token more are free. Only then does its KV content travel, over
//! the links of both replicas (see [`Link`]). The prefill replica keeps the blocks until it has
//! arrived, so a full decode side holds the prefill side back.

use bevy_ecs::prelude::*;

use super::Link;
use super::kv::BlockTable;
use super::request::Sequence;
use crate::base::Nanos;

/// Blocks that a prefill replica keeps for a request until they have arrived elsewhere.
#[derive(Debug)]
pub(crate) struct Sent {
    pub id: u64,
    pub table: BlockTable,
    pub tokens: u32,
}

/// What a replica of pools that hand over has under way.
#[derive(Component, Debug, Default)]
pub(crate) struct Transfers {
    /// What it hands over.
    pub sending: Vec<Sent>,
    /// Its link, as a sender or as a receiver.
    pub link: Link,
    /// Requests handed over to it that wait for blocks, first come first.
    pub handed: Vec<Sequence>,
    /// Requests that have blocks, while the content of these is on its way.
    pub receiving: Vec<Sequence>,
    /// Requests whose content has arrived, and when; they go on with the next plan.
    pub received: Vec<(Nanos, Sequence)>,
}

impl Transfers {
    /// Whether a plan has something to take in.
    pub fn is_to_receive(&self) -> bool {
        !self.handed.is_empty() || !self.received.is_empty()
    }

    /// Requests that hold blocks here and are not in the running list yet.
    pub fn on_the_way(&self) -> impl Iterator<Item = &Sequence> {
        self.receiving.iter().chain(self.received.iter().map(|(_, sequence)| sequence))
    }
}

/// A request whose blocks are allocated on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The replica that has the content.
    pub from: Entity,
    /// The replica that goes on with it.
    pub to: Entity,
    /// The request's id.
    pub id: u64,
    /// Tokens of its content.
    pub tokens: u32,
    /// The iteration that ended its prompt.
    pub computed: Iteration,
}

/// Where a request was prefilled.
#[derive(Clone, Copy, Debug)]
pub struct HandedOver {
    /// The replica.
    pub from: Entity,
    /// The iteration that ended its prompt.
    pub computed: Iteration,
}

/// An iteration of a batch, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iteration {
    /// The beginning.
    pub begin: Nanos,
    /// The end.
    pub end: Nanos,
}

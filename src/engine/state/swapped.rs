//! Preempted requests whose KV blocks wait in host memory, with all that was computed.

use bevy_ecs::prelude::*;

use super::request::Sequence;

/// The swapped requests of a replica whose engine swaps.
#[derive(Component, Debug, Default)]
pub(crate) struct SwappedRequests(pub Vec<Swapped>);

/// A request whose blocks are in host memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swapped {
    /// The request.
    pub sequence: Sequence,
    /// Blocks in host memory: those that held something.
    pub copied: u32,
    /// Blocks that it held on the GPU.
    pub held: u32,
}

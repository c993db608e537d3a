//! The link of a replica, over which KV content travels.
//!
//! Each replica has one link for what it sends and one for what it receives, and a transfer has
//! both for itself: first come, first served, and who waits for a busy receiver keeps those behind
//! it waiting.
//!
//! Layer by layer (as in Splitwise, arXiv:2311.18677, section IV-C): a layer's keys and values are
//! sent while later layers are computed. Layer `i` of `L` is there at `begin + i T / L` of the
//! iteration that ends the prompt at `end = begin + T`, and the link takes `W / L` for each, so the
//! last byte leaves at
//!
//! ```text
//! max(first layer + W, end + W / L),    first layer = begin + T / L or when the link is free
//! ```
//!
//! Of prompts that end with the same iteration the first has precedence, and the others' layers
//! fill the gaps in which its next layer is not computed yet; what is left after `end` is a layer
//! of each.

use crate::base::Nanos;

/// What one transfer asks of its links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// When the first of it can be sent.
    pub first: Nanos,
    /// When the last of it can be sent.
    pub last: Nanos,
    /// The time that all of it takes on the link.
    pub wire: Nanos,
    /// The time that the last part takes.
    pub part: Nanos,
}

impl Load {
    /// The load of content that is all there `now`.
    pub fn whole(now: Nanos, wire: Nanos) -> Load {
        Load { first: now, last: now, wire, part: wire }
    }

    /// The load of content that is computed layer by layer from `begin` to `end`.
    pub fn layered(begin: Nanos, end: Nanos, wire: Nanos, layers: u32) -> Load {
        let layers = u64::from(layers.max(1));
        let first = begin + Nanos(end.since(begin).0.div_ceil(layers));
        Load { first, last: end, wire, part: Nanos(wire.0.div_ceil(layers)) }
    }
}

/// A link in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// When all that was given to it has left.
    free: Nanos,
    /// The end of the computation that the transfers given last overlap with.
    computed: Nanos,
    /// When the work of these would be done if nothing had to wait for its computation.
    worked: Nanos,
    /// When their last parts have left.
    parts: Nanos,
}

impl Link {
    /// From when on there is room for something that is computed until `last`, and for its last
    /// part.
    fn room(&self, last: Nanos) -> (Nanos, Nanos) {
        match self.computed == last {
            true => (self.worked, self.parts),
            false => (self.free, self.free),
        }
    }

    /// When the last byte of `load` has left `from` for `to`.
    pub fn send(from: &mut Link, to: &mut Link, load: Load) -> Nanos {
        let (rooms, last) = ([from.room(load.last), to.room(load.last)], load.last);
        let worked = rooms[0].0.max(rooms[1].0).max(load.first) + load.wire;
        let parts = rooms[0].1.max(rooms[1].1).max(last) + load.part;
        let end = worked.max(parts);
        for link in [from, to] {
            *link = Link { free: link.free.max(end), computed: last, worked, parts };
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(links: &mut [Link], (from, to): (usize, usize), load: Load) -> u64 {
        let (mut a, mut b) = (links[from], links[to]);
        let end = Link::send(&mut a, &mut b, load);
        (links[from], links[to]) = (a, b);
        end.0
    }

    #[test]
    fn whole_transfers_take_turns_at_both_ends() {
        let mut links = [Link::default(); 4];
        let load = |now, wire| Load::whole(Nanos(now), Nanos(wire));
        assert_eq!(send(&mut links, (0, 2), load(100, 50)), 150);
        assert_eq!(send(&mut links, (0, 3), load(100, 50)), 200, "the sender is busy");
        assert_eq!(send(&mut links, (1, 2), load(120, 10)), 160, "the receiver is busy");
        assert_eq!(send(&mut links, (1, 3), load(500, 10)), 510);
    }

    /// Against a link that sends the layers one by one, in their order.
    #[test]
    fn layers_leave_as_they_are_computed() {
        for (wire, layers) in [(8_000, 8), (800, 8), (80_000, 80), (9_600, 96), (0, 4)] {
            let (begin, end) = (1_000, 1_000 + 9_600);
            let mut last = 0;
            for layer in 1..=layers {
                last = (begin + 9_600 * layer / layers).max(last) + wire / layers;
            }
            let mut links = [Link::default(); 2];
            let load = Load::layered(Nanos(begin), Nanos(end), Nanos(wire), layers as u32);
            assert_eq!(send(&mut links, (0, 1), load), last, "{wire} {layers}");
        }
    }

    /// Prompts of one batch: what is left after it is a layer of each, or what does not fit.
    #[test]
    fn prompts_of_a_batch_share_the_time_of_its_computation() {
        let load = |wire| Load::layered(Nanos(0), Nanos(1_000), Nanos(wire), 10);
        let mut links = [Link::default(); 2];
        assert_eq!(send(&mut links, (0, 1), load(100)), 1_010);
        assert_eq!(send(&mut links, (0, 1), load(200)), 1_030);
        // 100 + 300 + 900 from the first layer on.
        assert_eq!(send(&mut links, (0, 1), load(900)), 1_300);
        // Content that was computed later waits for all of it.
        let later = Load::layered(Nanos(1_000), Nanos(1_200), Nanos(100), 10);
        assert_eq!(send(&mut links, (0, 1), later), 1_400);
    }
}

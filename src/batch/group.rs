//! The decode group: the requests of a replica that decode, as one.
//!
//! While nothing happens to them, all of them gain one token per iteration. So the group keeps what
//! is the same for all (how many iterations there were, their time, when the last one ended) and of
//! each member only how it differs. An iteration costs its completions and the blocks that it needs,
//! whatever the number of members: completions lie in a heap by iteration, and members that need
//! their next block at the same iteration, modulo the size of a block, in the same bin.
//!
//! A policy may do anything to single requests. Then the group is dissolved into the plain list that
//! it stands for ([`DecodeGroup::dissolve`]), and gathered again some iterations later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryEntityError;

use super::Growth;
use crate::kv::{BlockPool, BlockStore, BlockTable, PrefixHashes};
use crate::metrics::TokenGaps;
use crate::request::Sequence;
use crate::sim::Nanos;
use crate::timing::BatchShape;

/// Which member: its slot, and the generation that tells it from the slot's earlier members.
type Handle = (u32, u32);

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct DecodeGroup {
    /// Members by slot. What changes with every iteration is relative: `processed` to `iteration`,
    /// `execution` to the group's.
    slots: Vec<Member>,
    vacant: Vec<u32>,
    /// The members in list order, and some who left.
    order: Vec<Handle>,
    len: usize,
    /// Iterations so far.
    iteration: u64,
    /// Their time.
    execution: Nanos,
    /// When the last one ended.
    last_token_at: Nanos,
    /// Who has all tokens when, then by place in the list.
    completions: BinaryHeap<Reverse<(u64, i64, Handle)>>,
    /// By the iteration, modulo the number of bins, whose token is the first of a block: members in
    /// list order and some who left, and how many of them are still there.
    bins: Vec<(Vec<Handle>, u32)>,
    /// Members that hold more blocks than their tokens need, or fewer.
    irregular: u32,
    /// Whether a member went on without the block that it needed: those of reservations do.
    ungrown: bool,
    /// Contexts relative to `iteration`; some are of members who left.
    longest: BinaryHeap<(i64, Handle)>,
    shortest: BinaryHeap<Reverse<(i64, Handle)>>,
    /// Sum of the contexts and of their squares.
    context: u64,
    context_squares: u64,
    /// Members that the statistics count; those among them that had no iteration in the group yet,
    /// by their last token.
    in_window: u64,
    fresh: Vec<(Nanos, u64)>,
    /// Whether the list is in the order of arrival, and of admission.
    by_arrival: bool,
    by_admission: bool,
    last_joined: Option<(Nanos, u32)>,
    /// Whether all are of one block group (FasterTransformer).
    one_block_group: bool,
    /// Whether it is in a batch.
    pub in_batch: bool,
}

#[derive(Debug)]
struct Member {
    sequence: Sequence,
    generation: u32,
    /// The group's iterations when it joined.
    joined: u64,
    /// Whether it counts in `irregular`.
    irregular: bool,
}

/// What an iteration does to a member's blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockChange {
    place: i64,
    pub entity: Entity,
    /// Index in the member's table: of the new block, or of the one that gets full.
    index: u32,
    /// Whether a block gets full; otherwise one is new.
    filled: bool,
    /// Whether its blocks are a block group's, which share no prefixes.
    grouped: bool,
}

impl BlockChange {
    fn new(member: &Sequence, index: u32, filled: bool) -> BlockChange {
        BlockChange {
            place: member.place,
            entity: member.entity,
            index,
            filled,
            grouped: member.group != 0,
        }
    }
}

impl BlockChange {
    /// Makes the change. Returns the number of new blocks.
    pub fn apply(
        &self,
        pool: &mut BlockPool,
        table: &mut BlockTable,
        hashes: Option<&PrefixHashes>,
        blocks: &mut BlockStore<'_>,
    ) -> u32 {
        if !self.filled {
            pool.allocate(1, table, blocks);
            return 1;
        }
        if let Some(PrefixHashes(hashes)) = hashes.filter(|_| !self.grouped) {
            let index = self.index as usize;
            pool.remember(table.0[index], hashes[index], blocks);
        }
        0
    }
}

impl DecodeGroup {
    /// A group for blocks of `block_size` tokens.
    pub fn new(block_size: u32) -> DecodeGroup {
        let bins = (0..block_size).map(|_| (Vec::new(), 0)).collect();
        DecodeGroup {
            bins,
            by_arrival: true,
            by_admission: true,
            one_block_group: true,
            ..DecodeGroup::default()
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Members that the statistics count.
    pub fn in_window(&self) -> u64 {
        self.in_window
    }

    /// The latest arrival, if the list is in the order of arrival.
    pub fn last_arrival(&self) -> Option<Nanos> {
        self.last_joined.map(|(arrived_at, _)| arrived_at).filter(|_| self.by_arrival)
    }

    /// The latest admission, if the list is in the order of admission.
    pub fn last_admission(&self) -> Option<u32> {
        self.last_joined.map(|(_, admission)| admission).filter(|_| self.by_admission)
    }

    /// Where the last of the list is.
    pub fn last_place(&self) -> i64 {
        self.order.last().and_then(|&last| self.get(last)).map_or(i64::MAX, |m| m.sequence.place)
    }

    /// Whether all are of one block group.
    pub fn is_one_block_group(&self) -> bool {
        self.one_block_group
    }

    /// The members in list order, as they are now.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = Sequence> + '_ {
        self.order.iter().filter_map(|&handle| self.get(handle)).map(|member| self.now(member))
    }

    fn get(&self, (slot, generation): Handle) -> Option<&Member> {
        self.slots.get(slot as usize).filter(|member| member.generation == generation)
    }

    /// A member with its own numbers.
    fn now(&self, member: &Member) -> Sequence {
        let mut sequence = member.sequence;
        sequence.processed = sequence.processed.wrapping_add(self.iteration as u32);
        sequence.execution = Nanos(sequence.execution.0.wrapping_add(self.execution.0));
        if member.joined < self.iteration {
            sequence.last_token_at = self.last_token_at;
        }
        sequence.tokens = u32::from(self.in_batch);
        sequence
    }

    fn block_size(&self) -> u32 {
        self.bins.len() as u32
    }

    /// Takes a decoding request in, at the end of the list.
    pub fn join(&mut self, sequence: Sequence) {
        let slot = self.vacant.pop().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(slot as usize).map_or(0, |member| member.generation);
        let handle = (slot, generation);
        let (context, now) = (sequence.processed, self.iteration);
        self.completions.push(Reverse((
            now + u64::from(sequence.target - context),
            sequence.place,
            handle,
        )));
        let bin = self.bin_of(&sequence);
        self.bins[bin].0.push(handle);
        self.bins[bin].1 += 1;
        let irregular = !self.is_regular(&sequence);
        self.irregular += u32::from(irregular);
        let relative = i64::from(context) - now as i64;
        self.longest.push((relative, handle));
        self.shortest.push(Reverse((relative, handle)));
        self.context += u64::from(context);
        self.context_squares += u64::from(context) * u64::from(context);
        if sequence.in_window {
            self.in_window += 1;
            match self.fresh.last_mut() {
                Some((time, count)) if *time == sequence.last_token_at => *count += 1,
                _ => self.fresh.push((sequence.last_token_at, 1)),
            }
        }
        if let Some((arrived_at, admission)) = self.last_joined {
            self.by_arrival &= arrived_at <= sequence.arrived_at;
            self.by_admission &= admission < sequence.admission;
            self.one_block_group &= self
                .order
                .last()
                .and_then(|&last| self.get(last))
                .is_none_or(|last| last.sequence.group == sequence.group);
        }
        self.last_joined = Some((sequence.arrived_at, sequence.admission));
        self.order.push(handle);
        self.len += 1;
        let mut relative = sequence;
        relative.processed = context.wrapping_sub(now as u32);
        relative.execution = Nanos(sequence.execution.0.wrapping_sub(self.execution.0));
        let member = Member { sequence: relative, generation, joined: now, irregular };
        match self.slots.get_mut(slot as usize) {
            Some(vacant) => *vacant = member,
            None => self.slots.push(member),
        }
    }

    /// The bin of a request: its context is one token beyond a multiple of the block size then.
    fn bin_of(&self, sequence: &Sequence) -> usize {
        let size = u64::from(self.block_size());
        let ahead = size + 1 - u64::from(sequence.processed) % size;
        ((self.iteration + ahead) % size) as usize
    }

    /// Whether a request needs a new block exactly when its token is the first of a block: it holds
    /// no whole block more than it needs, and lacks none.
    fn is_regular(&self, sequence: &Sequence) -> bool {
        let size = self.block_size();
        let room = (sequence.blocks * size + 1).checked_sub(sequence.processed);
        room.is_some_and(|room| room < size)
    }

    /// Takes the member out that is next to complete, if it has all its tokens.
    pub fn pop_completed(&mut self) -> Option<Sequence> {
        let &Reverse((due, _, handle)) = self.completions.peek()?;
        if due > self.iteration {
            return None;
        }
        self.completions.pop();
        let sequence = self.now(self.get(handle)?);
        let bin = self.bin_of(&sequence);
        self.bins[bin].1 -= 1;
        self.irregular -= u32::from(self.slots[handle.0 as usize].irregular);
        self.context -= u64::from(sequence.processed);
        self.context_squares -= u64::from(sequence.processed) * u64::from(sequence.processed);
        self.in_window -= u64::from(sequence.in_window);
        self.slots[handle.0 as usize].generation += 1;
        self.vacant.push(handle.0);
        self.len -= 1;
        if self.len == 0 {
            self.clear();
        } else {
            self.forget_who_left();
        }
        Some(sequence)
    }

    /// Drops what is left of members that are gone, now and then.
    fn forget_who_left(&mut self) {
        let most = 2 * self.len + 32;
        let slots = &self.slots;
        let there = |&(slot, generation): &Handle| slots[slot as usize].generation == generation;
        if self.order.len() > most {
            self.order.retain(there);
        }
        if self.longest.len() > most {
            self.longest.retain(|(_, handle)| there(handle));
        }
        if self.shortest.len() > most {
            self.shortest.retain(|Reverse((_, handle))| there(handle));
        }
    }

    /// As new, but for the numbers of iterations and generations.
    fn clear(&mut self) {
        self.vacant.clear();
        self.vacant.extend((0..self.slots.len() as u32).rev());
        self.order.clear();
        self.len = 0;
        self.completions.clear();
        for (bin, count) in &mut self.bins {
            bin.clear();
            *count = 0;
        }
        self.irregular = 0;
        self.ungrown = false;
        self.longest.clear();
        self.shortest.clear();
        (self.context, self.context_squares, self.in_window) = (0, 0, 0);
        self.fresh.clear();
        (self.by_arrival, self.by_admission, self.one_block_group) = (true, true, true);
        self.last_joined = None;
    }

    /// Empties the group into the plain list that it stands for.
    pub fn dissolve(&mut self, list: &mut Vec<Sequence>) {
        list.extend(self.members());
        for member in &mut self.slots {
            member.generation += 1;
        }
        self.clear();
    }

    /// How many blocks the members need in iterations to come. `None` if one has more blocks than
    /// it needs now.
    pub fn growth(&self) -> Option<Growth> {
        if self.is_irregular() {
            return None;
        }
        let size = u64::from(self.block_size());
        let count = |room: u64| self.bins[((self.iteration + room + 1) % size) as usize].1;
        let last = self.members().next_back()?;
        let last_room = (last.blocks * self.block_size()).checked_sub(last.processed)?;
        Some(Growth { by_room: (0..size).map(count).collect(), last_room })
    }

    /// Whether a member has more blocks than it needs now.
    pub fn is_irregular(&self) -> bool {
        self.irregular > 0 || self.ungrown
    }

    /// Blocks that the members need to go on, and whether the last of the list is among those who
    /// need one. `None` if one has more blocks than it needs.
    pub fn needed(&self) -> Option<(u32, bool)> {
        if self.is_irregular() {
            return None;
        }
        let needed = self.bins[(self.iteration % u64::from(self.block_size())) as usize].1;
        let last_needs = || {
            let last = self.members().next_back();
            last.is_some_and(|last| last.processed > last.blocks * self.block_size())
        };
        Some((needed, needed > 0 && last_needs()))
    }

    /// The new blocks that members need in the iterations 1 to `more` after the next one:
    /// `take(entity, count)` for each member that needs any. For pools that cache no prefixes, where
    /// it does not matter who gets which block.
    pub fn take_blocks(
        &mut self,
        more: u32,
        mut take: impl FnMut(Entity, u32) -> Result<(), QueryEntityError>,
    ) -> Result<(), QueryEntityError> {
        let size = self.block_size();
        let mut result = Ok(());
        for number in 1..=more.min(size) {
            let count = (more - number) / size + 1;
            self.visit(number, |member| {
                member.blocks += count;
                if result.is_ok() {
                    result = take(member.entity, count);
                }
            });
        }
        result
    }

    /// What the iteration `ahead` of the next one does to blocks: if they `grow`, a new one for every
    /// member that needs one, and, if asked for, which blocks get `full`. In list order.
    pub fn block_changes(
        &mut self,
        ahead: u32,
        grow: bool,
        full: bool,
        changes: &mut Vec<BlockChange>,
    ) {
        changes.clear();
        if grow {
            self.visit(ahead, |member| {
                changes.push(BlockChange::new(member, member.blocks, false));
                member.blocks += 1;
            });
        } else {
            self.ungrown = true;
        }
        if full {
            // One iteration before the token that is the first of a block.
            let (new, size) = (changes.len(), self.block_size());
            let iteration = (self.iteration as u32).wrapping_add(ahead);
            self.visit(ahead + 1, |member| {
                let context = member.processed.wrapping_add(iteration);
                changes.push(BlockChange::new(member, context / size - 1, true));
            });
            if new > 0 && changes.len() > new {
                changes.sort_unstable_by_key(|change| (change.place, change.filled));
            }
        }
    }

    fn visit(&mut self, ahead: u32, mut visit: impl FnMut(&mut Sequence)) {
        let size = u64::from(self.block_size());
        let (bin, count) = &mut self.bins[((self.iteration + u64::from(ahead)) % size) as usize];
        if *count == 0 {
            return;
        }
        let slots = &mut self.slots;
        bin.retain(|&(slot, generation)| {
            let member = &mut slots[slot as usize];
            let there = member.generation == generation;
            if there {
                visit(&mut member.sequence);
            }
            there
        });
    }

    /// Iterations until the first member has all its tokens.
    pub fn to_completion(&self) -> u32 {
        let due = self.completions.peek().map(|Reverse((due, ..))| due - self.iteration);
        due.unwrap_or(1).min(u64::from(u32::MAX)) as u32
    }

    /// Adds the members to a batch's composition.
    pub fn add_to(&mut self, shape: &mut BatchShape) {
        let slots = &self.slots;
        let there = |&(slot, generation): &Handle| slots[slot as usize].generation == generation;
        while self.longest.peek().is_some_and(|(_, handle)| !there(handle)) {
            self.longest.pop();
        }
        while self.shortest.peek().is_some_and(|Reverse((_, handle))| !there(handle)) {
            self.shortest.pop();
        }
        let context = |relative: i64| (relative + self.iteration as i64) as u32;
        let longest = self.longest.peek().map_or(0, |&(relative, _)| context(relative));
        let shortest = self.shortest.peek().map_or(0, |Reverse((relative, _))| context(*relative));
        shape.add_decodes(self.len as u32, self.context, self.context_squares, shortest, longest);
    }

    /// Commits `iterations` whose time is `execution` and of which the last ended at `end`, the
    /// first at `first_end`. The gaps between tokens of all but the first are the caller's.
    pub fn advance(
        &mut self,
        iterations: u32,
        execution: Nanos,
        first_end: Nanos,
        end: Nanos,
        gaps: &mut TokenGaps,
    ) {
        let fresh: u64 = self.fresh.iter().map(|(_, count)| count).sum();
        if self.in_window > fresh {
            gaps.record(first_end.since(self.last_token_at), self.in_window - fresh);
        }
        for (last, count) in self.fresh.drain(..) {
            gaps.record(first_end.since(last), count);
        }
        let (k, n) = (u64::from(iterations), self.len as u64);
        self.iteration += k;
        self.execution += execution;
        self.last_token_at = end;
        self.context_squares += 2 * k * self.context + k * k * n;
        self.context += k * n;
    }
}

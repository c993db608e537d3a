//! The decode group: the requests of a replica that decode, as one.
//!
//! While nothing happens to them, all of them gain one token per iteration. So the group keeps what
//! is the same for all (how many iterations there were, their time, when the last one ended) and of
//! each member only how it differs. An iteration costs its completions and the blocks that it
//! needs, whatever the number of members: completions lie in a heap by iteration, and members that
//! need their next block at the same iteration, modulo the size of a block, are counted together.
//!
//! Without prefix caching nothing depends on which block is whose. So what the members get while
//! they are in the group is shared, and each takes its part along when it leaves; what it holds
//! follows from its context.
//!
//! A policy may do anything to single requests. Then the group is dissolved into the plain list
//! that it stands for ([`DecodeGroup::dissolve`]), and gathered again some iterations later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

use bevy_ecs::prelude::*;

use super::Growth;
use crate::base::Nanos;
use crate::engine::state::kv::{BlockId, BlockPool, BlockStore, BlockTable, PrefixHashes};
use crate::engine::state::request::Sequence;
use crate::records::TokenGaps;
use crate::timing::BatchShape;

/// Which member: its slot, and the generation that tells it from the slot's earlier members.
type Handle = (u32, u32);

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct DecodeGroup {
    /// Members by slot. What changes with every iteration is relative: `processed` to `iteration`,
    /// `execution` to the group's. `blocks` are those that it came with.
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
    /// By the iteration, modulo the size of a block, whose token is the first of a block: how many
    /// members.
    due: Vec<u32>,
    /// With prefix caching, which members these are, in list order, and some who left.
    due_members: Option<Vec<Vec<Handle>>>,
    /// Whether a block becomes findable in the iteration after the one that fills it.
    cached_late: bool,
    /// For so many iterations members have their blocks.
    grown: u64,
    /// Blocks that members got here; none with prefix caching.
    shared_blocks: BlockTable,
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

/// What an iteration does to a member's blocks in a pool that caches prefixes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockChange {
    place: i64,
    pub entity: Entity,
    /// Index in the member's table of the block that gets full; `None` if it gets a new one.
    filled: Option<u32>,
    /// Whether its blocks are a block group's, which share no prefixes.
    grouped: bool,
}

impl BlockChange {
    fn new(member: &Sequence, filled: Option<u32>) -> BlockChange {
        BlockChange {
            place: member.place,
            entity: member.entity,
            filled,
            grouped: member.group != 0,
        }
    }

    /// Makes the change. Returns the number of new blocks.
    pub fn apply(
        &self,
        pool: &mut BlockPool,
        table: &mut BlockTable,
        hashes: Option<&PrefixHashes>,
        blocks: &mut BlockStore<'_>,
    ) -> u32 {
        let Some(index) = self.filled else {
            pool.allocate(1, table, blocks);
            return 1;
        };
        if let Some(PrefixHashes(hashes)) = hashes.filter(|_| !self.grouped) {
            let index = index as usize;
            pool.cache_block(table.0[index], hashes[index], blocks);
        }
        0
    }
}

impl DecodeGroup {
    /// A group for blocks of `block_size` tokens, of a pool with or without prefix caching, which
    /// caches what is decoded late or not.
    pub fn new(block_size: u32, prefix_caching: bool, cached_late: bool) -> DecodeGroup {
        DecodeGroup {
            due: vec![0; block_size as usize],
            due_members: prefix_caching.then(|| vec![Vec::new(); block_size as usize]),
            cached_late,
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
        sequence.blocks += self.gained(member);
        sequence.execution = Nanos(sequence.execution.0.wrapping_add(self.execution.0));
        if member.joined < self.iteration {
            sequence.last_token_at = self.last_token_at;
        }
        sequence.tokens = u32::from(self.in_batch);
        sequence
    }

    /// Blocks that a member got in the group.
    fn gained(&self, member: &Member) -> u32 {
        if member.irregular {
            return 0;
        }
        // A regular member has just the blocks for the tokens before its last one.
        let grown = self.grown.max(member.joined) as u32;
        let context = member.sequence.processed.wrapping_add(grown);
        (context - 1).div_ceil(self.block_size()) - member.sequence.blocks
    }

    /// Blocks of those that a member got in the group which are among the shared ones.
    fn owed(&self, member: &Member) -> u32 {
        if self.due_members.is_some() { 0 } else { self.gained(member) }
    }

    /// The members in list order, as they are now, and how many of their blocks are among the
    /// shared ones.
    pub fn members_and_owed(&self) -> impl Iterator<Item = (Sequence, u32)> + '_ {
        let there = self.order.iter().filter_map(|&handle| self.get(handle));
        there.map(|member| (self.now(member), self.owed(member)))
    }

    /// The blocks that members got in the group and whose tables lack them.
    pub fn shared_blocks(&self) -> &BlockTable {
        &self.shared_blocks
    }

    /// Gives `count` blocks of the shared ones back, which a member that left held.
    pub fn give_back(&mut self, count: u32, pool: &mut BlockPool, blocks: &mut BlockStore<'_>) {
        pool.give_back_last(count, &mut self.shared_blocks, blocks);
    }

    /// Puts `count` of the shared blocks into the table of a member that left.
    pub fn give_blocks(&mut self, count: u32, table: &mut BlockTable) {
        let first = self.shared_blocks.0.len() - count as usize;
        table.0.extend(self.shared_blocks.0.drain(first..));
    }

    fn block_size(&self) -> u32 {
        self.due.len() as u32
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
        self.due[bin] += 1;
        if let Some(members) = &mut self.due_members {
            members[bin].push(handle);
        }
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

    /// Takes the member out that is next to complete, if it has all its tokens. So many of its
    /// blocks are among the shared ones.
    pub fn pop_completed(&mut self) -> Option<(Sequence, u32)> {
        let &Reverse((due, _, handle)) = self.completions.peek()?;
        if due > self.iteration {
            return None;
        }
        self.completions.pop();
        let member = self.get(handle)?;
        let (sequence, owed) = (self.now(member), self.owed(member));
        let bin = self.bin_of(&sequence);
        self.due[bin] -= 1;
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
        Some((sequence, owed))
    }

    /// Drops what is left of members that are gone, now and then.
    fn forget_who_left(&mut self) {
        let most = 2 * self.len + 8;
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
        self.due.fill(0);
        self.due_members.iter_mut().flatten().for_each(Vec::clear);
        self.irregular = 0;
        self.ungrown = false;
        self.longest.clear();
        self.shortest.clear();
        (self.context, self.context_squares, self.in_window) = (0, 0, 0);
        self.fresh.clear();
        (self.by_arrival, self.by_admission, self.one_block_group) = (true, true, true);
        self.last_joined = None;
    }

    /// Empties the group into the plain list that it stands for. Each member that has blocks on the
    /// shared_blocks gets them by `give`.
    pub fn dissolve(
        &mut self,
        list: &mut Vec<Sequence>,
        mut give: impl FnMut(Entity, std::vec::Drain<'_, BlockId>),
    ) {
        let first = list.len();
        list.extend(self.members());
        let mut shared_blocks = std::mem::take(&mut self.shared_blocks.0);
        let there = self.order.iter().filter_map(|&handle| self.get(handle));
        for (member, sequence) in there.zip(&list[first..]) {
            let owed = self.owed(member) as usize;
            if owed > 0 {
                give(sequence.entity, shared_blocks.drain(shared_blocks.len() - owed..));
            }
        }
        debug_assert!(shared_blocks.is_empty(), "all blocks are somebody's");
        self.shared_blocks.0 = shared_blocks;
        for member in &mut self.slots {
            member.generation += 1;
        }
        self.clear();
    }

    /// How many blocks the members need in iterations to come. `None` if one has more blocks than
    /// it needs now.
    pub fn growth(&self) -> Option<Growth<'_>> {
        let first = (self.iteration + 1) % u64::from(self.block_size());
        (!self.is_irregular()).then(|| Growth::of_group(&self.due, first as usize))
    }

    /// Tokens that the last of the list still has room for.
    pub fn last_room(&self) -> Option<u32> {
        let last = self.members().next_back()?;
        (last.blocks * self.block_size()).checked_sub(last.processed)
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
        let needed = self.due[(self.iteration % u64::from(self.block_size())) as usize];
        let last_needs = || {
            let last = self.members().next_back();
            last.is_some_and(|last| last.processed > last.blocks * self.block_size())
        };
        Some((needed, needed > 0 && last_needs()))
    }

    /// Takes the new blocks that members need in these iterations, counted from the next one, which
    /// is 0, as shared ones. Returns their number. For pools that cache no prefixes.
    pub fn take_blocks(
        &mut self,
        iterations: RangeInclusive<u32>,
        pool: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) -> u32 {
        let size = u64::from(self.block_size());
        let first = self.iteration + u64::from(*iterations.start());
        self.grown = self.iteration + u64::from(*iterations.end()) + 1;
        let (rounds, rest) = ((self.grown - first) / size, (self.grown - first) % size);
        let due = |at: u64| self.due[(at % size) as usize];
        let mut count = (first..first + rest).map(due).sum();
        if rounds > 0 {
            count += rounds as u32 * self.due.iter().sum::<u32>();
        }
        if count > 0 {
            pool.allocate(count, &mut self.shared_blocks, blocks);
        }
        count
    }

    /// Lets the next iteration pass without new blocks: these were reserved.
    pub fn stay(&mut self) {
        self.ungrown = true;
    }

    /// What the iteration `ahead` of the next one does to blocks in a pool that caches prefixes:
    /// which get full (or got full in the one before, if that is when they are cached), and if they
    /// `grow`, a new one for every member that needs one. In list order.
    pub fn block_changes(&mut self, ahead: u32, grow: bool, changes: &mut Vec<BlockChange>) {
        changes.clear();
        let iteration = (self.iteration as u32).wrapping_add(ahead);
        if grow {
            self.grown = self.iteration + u64::from(ahead) + 1;
            self.visit(ahead, |member| changes.push(BlockChange::new(member, None)));
        } else {
            self.ungrown = true;
        }
        let (new, size) = (changes.len(), self.block_size());
        // One iteration before the token that is the first of a block, or with it.
        let (at, since) = if self.cached_late { (ahead, 1) } else { (ahead + 1, 0) };
        self.visit(at, |member| {
            let context = member.processed.wrapping_add(iteration) - since;
            changes.push(BlockChange::new(member, Some(context / size - 1)));
        });
        if new > 0 && changes.len() > new {
            changes.sort_unstable_by_key(|change| (change.place, change.filled.is_some()));
        }
    }

    /// With prefix caching: the members whose token in the iteration `ahead` of the next one is the
    /// first of a block.
    fn visit(&mut self, ahead: u32, mut visit: impl FnMut(&Sequence)) {
        let size = u64::from(self.block_size());
        let bin = ((self.iteration + u64::from(ahead)) % size) as usize;
        let (slots, count) = (&self.slots, self.due[bin]);
        let Some(members) = self.due_members.as_mut().filter(|_| count > 0) else { return };
        members[bin].retain(|&(slot, generation)| {
            let member = &slots[slot as usize];
            let there = member.generation == generation;
            if there {
                visit(&member.sequence);
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

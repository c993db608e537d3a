//! KV cache groups: what each group of a model's layers holds of a request, block by block.

use std::collections::{BTreeMap, BTreeSet};

use vidur_ecs::engine::state::kv::{GroupRules, KvCacheGroup, MambaMode};

use super::job::Job;
use super::memory::{Memory, Name};

/// What a request holds in one group.
#[derive(Clone, Default)]
pub struct Table {
    /// Blocks by their place in the sequence.
    pub blocks: BTreeMap<usize, usize>,
    /// Places so far, those that hold nothing included.
    len: usize,
    /// Places that were looked at to be named.
    named: usize,
}

/// What a request finds: tokens, the places of each group with their blocks, and the end of a
/// longer prefix that only some groups have.
#[derive(Default)]
pub struct Hit {
    pub tokens: u32,
    places: Vec<BTreeMap<usize, usize>>,
    pub longer: u32,
}

/// The groups of a replica.
pub struct Groups {
    pub rules: GroupRules,
    /// States that were named in this plan.
    fresh: BTreeSet<Name>,
}

fn is_aligned(group: &KvCacheGroup) -> bool {
    matches!(group, KvCacheGroup::Mamba { mode: MambaMode::Align, .. })
}

/// Places that no token after the first `tokens` needs.
fn passed(group: &KvCacheGroup, tokens: u32) -> usize {
    let size = group.block_size();
    let places = match *group {
        KvCacheGroup::Full { .. } => 0,
        KvCacheGroup::SlidingWindow { window, .. } => (tokens + 1).saturating_sub(window) / size,
        KvCacheGroup::ChunkedLocal { chunk, .. } => tokens / chunk * chunk / size,
        KvCacheGroup::Mamba { .. } => tokens.saturating_sub(1) / size,
    };
    places as usize
}

fn places(group: &KvCacheGroup, tokens: u32) -> usize {
    tokens.div_ceil(group.block_size()) as usize
}

/// Places that a table lacks for `end` tokens, and takes: of states only the last.
fn lacking(group: &KvCacheGroup, len: usize, end: u32) -> usize {
    let lacking = places(group, end).saturating_sub(len);
    if is_aligned(group) { lacking.min(1) } else { lacking }
}

/// Places before an end that are needed to go on there.
fn tail(group: &KvCacheGroup) -> Option<usize> {
    match *group {
        KvCacheGroup::SlidingWindow { window, block_size } => {
            Some((window - 1).div_ceil(block_size) as usize)
        }
        KvCacheGroup::Mamba { .. } => Some(1),
        _ => None,
    }
}

impl Groups {
    pub fn new(rules: GroupRules) -> Groups {
        Groups { rules, fresh: BTreeSet::new() }
    }

    pub fn begin(&mut self) {
        self.fresh.clear();
    }

    /// Ends of prefixes are multiples of this.
    fn unit(&self) -> u32 {
        let sizes: Vec<u32> = self.rules.groups.iter().map(|group| group.block_size()).collect();
        let most = sizes.iter().copied().max().expect("a group");
        (1..).map(|n| n * most).find(|unit| sizes.iter().all(|size| unit % size == 0)).unwrap()
    }

    /// The name of a place: groups tell their blocks apart.
    fn name(&self, group: usize, names: &[Name], place: usize) -> Option<Name> {
        let parts = (self.rules.groups[group].block_size() / self.rules.hash_block) as usize;
        let name = names.get((place + 1) * parts - 1)?;
        Some(name * self.rules.groups.len() + group)
    }

    /// Most blocks that a group holds of a request at once while it computes prompts.
    fn cap(&self, group: &KvCacheGroup) -> usize {
        let GroupRules { in_flight, longest, .. } = self.rules;
        match *group {
            KvCacheGroup::SlidingWindow { window, .. } => {
                places(group, (window - 1 + in_flight).min(longest)) + 1
            }
            KvCacheGroup::ChunkedLocal { chunk, .. } => {
                places(group, (chunk + in_flight).min(longest))
            }
            _ => usize::MAX,
        }
    }

    /// Most blocks that a request of so many tokens holds at once.
    pub fn most(&self, tokens: u32) -> usize {
        let of = |group: &KvCacheGroup| match is_aligned(group) {
            true => places(group, tokens).min(3),
            false => places(group, tokens).min(self.cap(group)),
        };
        self.rules.groups.iter().map(of).sum()
    }

    /// What is there of the first `limit` tokens, in every group.
    pub fn find(&self, names: &[Name], limit: u32, memory: &Memory) -> Hit {
        let groups = &self.rules.groups;
        let mut hit = Hit { places: vec![BTreeMap::new(); groups.len()], ..Hit::default() };
        if !memory.caching() {
            return hit;
        }
        // Kinds, those that keep every token first.
        let mut kinds: Vec<KvCacheGroup> = Vec::new();
        for group in groups {
            if !kinds.contains(group) {
                kinds.push(*group);
            }
        }
        let is_full = |kind: &KvCacheGroup| matches!(kind, KvCacheGroup::Full { .. });
        kinds.sort_by_key(|kind| !is_full(kind));
        let once = kinds.len() == 2 && is_full(&kinds[0]);
        let mut end = limit;
        loop {
            let before = end;
            for kind in &kinds {
                end = self.accepted(kind, names, end, memory);
                hit.longer = hit.longer.max(end);
            }
            if end == before || once {
                break;
            }
        }
        hit.tokens = end;
        if hit.longer == end {
            hit.longer = 0;
        }
        for (index, group) in groups.iter().enumerate() {
            let until = (end / group.block_size()) as usize;
            for place in passed(group, end).min(until)..until {
                let found = self.name(index, names, place).map(|name| memory.look_up(&[name]));
                let block = found.and_then(|found| found.first().copied()).expect("it was found");
                hit.places[index].insert(place, block);
            }
        }
        hit
    }

    /// How many of the first `limit` tokens the groups of a kind accept.
    fn accepted(&self, kind: &KvCacheGroup, names: &[Name], limit: u32, memory: &Memory) -> u32 {
        let size = kind.block_size();
        let unit = self.unit();
        let there = |place: usize| {
            let mut of_kind =
                (0..self.rules.groups.len()).filter(|i| self.rules.groups[*i] == *kind);
            of_kind.all(|group| {
                let name = self.name(group, names, place);
                name.is_some_and(|name| !memory.look_up(&[name]).is_empty())
            })
        };
        let named = names.len() / (size / self.rules.hash_block) as usize;
        let most = ((limit / size) as usize).min(named);
        let end = match *kind {
            KvCacheGroup::Full { .. } => (0..most).take_while(|place| there(*place)).count(),
            KvCacheGroup::ChunkedLocal { chunk, .. } => {
                let start = ((limit / chunk * chunk / size) as usize).min(most);
                start + (start..most).take_while(|place| there(*place)).count()
            }
            _ => {
                let tail = tail(kind).unwrap_or(0);
                let ends = (1..=most).rev().filter(|end| (*end as u32 * size).is_multiple_of(unit));
                let mut ends = ends.filter(|end| (end.saturating_sub(tail)..*end).all(there));
                ends.next().unwrap_or(0)
            }
        };
        let tokens = end as u32 * size;
        tokens - tokens % unit
    }

    /// Free blocks that a request takes which begins with `hit` and has `end` tokens then; `None`
    /// if it would begin with a state of this plan. `whole`: no more than is held at once.
    pub fn takes(
        &self,
        hit: &Hit,
        end: u32,
        whole: bool,
        names: &[Name],
        memory: &Memory,
    ) -> Option<usize> {
        let mut takes = 0;
        for (index, group) in self.rules.groups.iter().enumerate() {
            let found = (hit.tokens / group.block_size()) as usize;
            let state = found.checked_sub(1).and_then(|last| self.name(index, names, last));
            if is_aligned(group) && state.is_some_and(|name| self.fresh.contains(&name)) {
                return None;
            }
            let wanted = match whole {
                true => places(group, end).min(self.cap(group)),
                false => places(group, end),
            };
            let new = wanted.saturating_sub(found.max(passed(group, hit.tokens)));
            takes += if is_aligned(group) { new.min(1) } else { new };
            takes += hit.places[index].values().filter(|&&block| !memory.is_held(block)).count();
        }
        Some(takes)
    }

    /// A request begins with `hit`.
    pub fn adopt(&self, job: &mut Job, hit: &Hit, memory: &mut Memory) {
        job.longer = hit.longer;
        let groups = self.rules.groups.iter().zip(&hit.places);
        job.tables = groups
            .map(|(group, found)| {
                found.values().for_each(|&block| memory.share(block));
                let len = (hit.tokens / group.block_size()) as usize;
                Table { blocks: found.clone(), len, named: len }
            })
            .collect();
    }

    /// What no token after the first `processed` needs is given back.
    pub fn pass(&self, job: &mut Job, processed: u32, memory: &mut Memory) {
        for (group, table) in self.rules.groups.iter().zip(&mut job.tables) {
            let rest = table.blocks.split_off(&passed(group, processed));
            let gone = std::mem::replace(&mut table.blocks, rest);
            memory.give_back(gone.into_values().collect());
        }
    }

    pub fn missing(&self, job: &Job, end: u32) -> usize {
        let groups = self.rules.groups.iter().zip(&job.tables);
        groups.map(|(group, table)| lacking(group, table.len, end)).sum()
    }

    pub fn grow(&self, job: &mut Job, end: u32, memory: &mut Memory) {
        for (group, table) in self.rules.groups.iter().zip(&mut job.tables) {
            let new = memory.take(lacking(group, table.len, end));
            table.len = table.len.max(places(group, end));
            let first = table.len - new.len();
            table.blocks.extend((first..).zip(new));
        }
    }

    /// The full blocks of a request's first `tokens` tokens are named, as far as it is of use.
    pub fn give_names(&mut self, job: &mut Job, tokens: u32, memory: &mut Memory) {
        let unit = self.unit();
        let tokens = tokens / unit * unit;
        for index in 0..self.rules.groups.len() {
            let group = self.rules.groups[index];
            let full = (tokens / group.block_size()) as usize;
            for place in job.tables[index].named..full {
                let Some(name) = self.name(index, &job.names, place) else { break };
                let table = &mut job.tables[index];
                table.named = place + 1;
                let Some(&block) = table.blocks.get(&place) else { continue };
                if self.is_of_use(&group, place, job.new.prompt_tokens, job.longer) {
                    memory.give_name(block, name);
                    self.fresh.extend(is_aligned(&group).then_some(name));
                }
            }
        }
    }

    /// Whether a place is within the tail of an end that later requests may begin at: each multiple
    /// of the interval, the end of the prompt, and that of what is shared.
    fn is_of_use(&self, group: &KvCacheGroup, place: usize, prompt: u32, longer: u32) -> bool {
        let Some(tail) = tail(group) else { return true };
        let (size, unit) = (group.block_size(), self.unit());
        let step = match (self.rules.retention, group) {
            (0, _) => None,
            (tokens, _) => Some(tokens),
        };
        let mut ends = vec![(prompt - 1) / unit * unit, longer / unit * unit];
        // The first multiple at or after the place's end.
        ends.extend(step.map(|step| ((place as u32 + 1) * size).next_multiple_of(step)));
        ends.into_iter().any(|end| {
            let end = (end / size) as usize;
            (end.saturating_sub(tail)..end).contains(&place)
        })
    }

    /// How many of `tokens` tokens of a prompt are processed where states are kept at the ends of
    /// blocks: up to the next such end that is of use, of chunks up to `most` tokens.
    pub fn chunk(&self, start: u32, tokens: u32, prompt: u32, longer: u32, most: u32) -> u32 {
        let Some(group) = self.rules.groups.iter().find(|group| is_aligned(group)) else {
            return tokens;
        };
        let size = group.block_size();
        let mut end = start + tokens;
        if end < prompt && (end / size * size > start || size <= most) {
            end = (end / size * size).max(start);
        }
        let mut stops = vec![start.next_multiple_of(size), (prompt - 1) / size * size];
        if longer > start {
            stops.push(start + (longer - start) / size * size);
        }
        stops.into_iter().filter(|stop| *stop > start).fold(end, u32::min) - start
    }
}

/// All that a request holds is given back, group by group.
pub fn give_back(job: &mut Job, memory: &mut Memory) {
    memory.give_back(std::mem::take(&mut job.table));
    for table in std::mem::take(&mut job.tables) {
        memory.give_back(table.blocks.into_values().collect());
    }
}

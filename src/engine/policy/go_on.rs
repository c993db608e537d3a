//! Letting running requests go on: decodes and chunks of prompts.

use std::cmp::Ordering;

use super::draft::PlanDraft;
use super::preempt::Chosen;
use super::{PlanView, Victim};
use crate::engine::state::batch::DecodeGroup;

/// When a decoding request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// If the blocks that it needs are free: none, or one when its last block is full.
    Needed,
    /// If at least one block is free, needed or not (Vidur's rule).
    SpareBlock,
    /// Always: the blocks were reserved on admission.
    Reserved,
}

/// How [`PlanView::decode`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeRule {
    /// Most requests that decode in this batch.
    pub limit: usize,
    /// When a request fits.
    pub fit: Fit,
    /// Whether a victim with an incomplete prefill forgets the rest of its prompt, which is then
    /// generated as output: Vidur's bug, for parity only.
    pub vidur_partial_restart: bool,
}

/// How [`PlanView::advance`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvanceRule {
    /// Most tokens in this batch.
    pub budget: u32,
    /// Most tokens of one prompt; with 0, prompts are held back.
    pub chunk: u32,
    /// Who gives way when blocks run out.
    pub victim: Victim,
    /// Whether the walk goes on after a request that had to preempt itself.
    pub past_itself: bool,
}

impl Default for DecodeRule {
    /// All running requests, with the blocks that they need.
    fn default() -> DecodeRule {
        DecodeRule { limit: usize::MAX, fit: Fit::Needed, vidur_partial_restart: false }
    }
}

impl PlanView<'_> {
    /// Lets the running requests decode one token each, in order, until `rule.limit` is reached.
    /// One that does not fit makes room by preempting from the tail of the list; if it is the last
    /// itself, it is preempted. Requests with an incomplete prefill do not count: they are set
    /// aside for [`PlanView::extend_prefills`]. Under speculative decoding each feeds its drafts
    /// too, for which it needs blocks; if they are reserved, as many drafts as these hold.
    pub fn decode(&mut self, rule: DecodeRule) {
        self.draft.fit = rule.fit;
        let room = rule.limit.saturating_sub(self.planned());
        if self.group_is_idle() && !self.plan_group(rule.fit, room, 0) {
            self.dissolve();
        }
        let room = rule.limit.saturating_sub(self.planned());
        let (walked, decoding, tokens) = self.walk(rule, room);
        self.count_tokens(tokens);
        let running = &mut self.replica.running;
        let PlanDraft { planned, chunks, .. } = &mut *self.draft;
        if decoding as usize == walked && planned.is_empty() && walked == running.len() {
            std::mem::swap(running, planned);
            return;
        }
        for sequence in running.drain(..walked) {
            let list = if sequence.prefilled { &mut *planned } else { &mut *chunks };
            list.push(sequence);
        }
    }

    /// Gives each running request, in order, its blocks if it needs some. Returns how many requests
    /// it came past, how many of them decode, and their tokens.
    fn walk(&mut self, rule: DecodeRule, room: usize) -> (usize, u32, u32) {
        let mut index = 0;
        let (mut decoding, mut tokens) = (0, 0);
        while index < self.replica.running.len() && (decoding as usize) < room {
            let block_size = self.limits.block_size;
            let sequence = &self.replica.running[index];
            if !sequence.prefilled {
                index += 1;
                continue;
            }
            let (fed, missing) = match self.draft.drafts {
                0 => (1, u32::from(sequence.processed > sequence.blocks * block_size)),
                _ => self.fed_and_missing(sequence, rule.fit),
            };
            let free = self.replica.kv.free();
            let fits = match rule.fit {
                Fit::Needed => missing <= free,
                Fit::SpareBlock => missing.max(1) <= free,
                Fit::Reserved => true,
            };
            if !fits {
                // The tail gives way; that may be this request itself.
                let victim = self.replica.running.len() - 1;
                self.preempt_at(victim, rule.vidur_partial_restart);
                continue;
            }
            if missing > 0 && rule.fit != Fit::Reserved {
                self.grow(index, missing);
            }
            let sequence = &mut self.replica.running[index];
            sequence.tokens = fed;
            let sequence = *sequence;
            self.cache_filled(&sequence);
            decoding += 1;
            tokens += fed;
            index += 1;
        }
        (index, decoding, tokens)
    }

    /// Gives the running request at `index` `count` more blocks, which are free.
    fn grow(&mut self, index: usize, count: u32) {
        let sequence = &mut self.replica.running[index];
        let Ok((mut table, ..)) = self.requests.get_mut(sequence.entity) else {
            let sequence = *sequence;
            return self.lost(&sequence);
        };
        sequence.blocks += count;
        self.replica.kv.allocate(count, &mut table, &mut self.blocks);
        self.ledger.hold(self.replica.pool_index, count, 0);
    }

    /// Lets the running requests go on, in order, until the budget is used up: a decoding one with
    /// its token (and its drafts), one with an incomplete prefill with as much of its prompt as is
    /// left of the budget, at most a chunk. Each gets the blocks that it needs for this batch; if
    /// they are not free, requests are preempted as the rule says. It may come to the request
    /// itself, unless other batches of a pipeline are under way: then the walk ends. This is how
    /// vLLM V1 schedules its running list.
    pub fn advance(&mut self, rule: AdvanceRule) {
        let AdvanceRule { budget, chunk, victim, past_itself } = rule;
        self.draft.fit = Fit::Needed;
        if self.group_is_idle() && !self.plan_group_within(budget, chunk) {
            self.dissolve();
        }
        let mut index = 0;
        // As many tokens as it asked for before others were preempted, although they may have left
        // more of the budget.
        let mut asked = None;
        while index < self.replica.running.len() {
            let left = budget.saturating_sub(self.draft.planned_tokens);
            let sequence = self.replica.running[index];
            let tokens = asked.take().unwrap_or_else(|| match sequence.prefilled {
                true => self.fed(&sequence).min(left),
                false => {
                    let tokens = left.min(chunk).min(sequence.prompt - sequence.processed);
                    self.chunk_of_running(&sequence, tokens, budget.min(chunk))
                }
            });
            if tokens == 0 {
                if left == 0 {
                    break;
                }
                // A chunk that is held back.
                index += 1;
                continue;
            }
            let missing = if self.has_groups() {
                self.missing_of_groups(&sequence, tokens)
            } else {
                let held = self.limits.blocks_for(sequence.kv_tokens() + tokens);
                held.saturating_sub(sequence.blocks)
            };
            if missing > self.replica.kv.free() {
                let chosen = match victim.choose(&self.replica.running, self.finished()) {
                    Chosen::Running(chosen) => chosen,
                    Chosen::Finished(chosen) => {
                        self.preempt_finished(chosen);
                        asked = Some(tokens);
                        continue;
                    }
                };
                if chosen == index && self.batches_under_way() > 0 {
                    // Others hold the blocks and come back: giving up now could go on for ever.
                    break;
                }
                if chosen < index {
                    self.take_back(chosen);
                }
                self.preempt_at(chosen, false);
                match chosen.cmp(&index) {
                    Ordering::Less => index -= 1,
                    Ordering::Equal if past_itself => continue,
                    Ordering::Equal => break,
                    Ordering::Greater => {}
                }
                asked = Some(tokens);
                continue;
            }
            if self.has_groups() {
                self.grow_groups(index, missing, tokens);
            } else if missing > 0 {
                self.grow(index, missing);
            }
            let sequence = &mut self.replica.running[index];
            sequence.tokens = tokens;
            let sequence = *sequence;
            self.cache_filled(&sequence);
            self.count_tokens(tokens);
            index += 1;
        }
        self.put_advanced(index);
    }

    /// Puts the first `count` running requests into the batch, but for those that got no tokens.
    fn put_advanced(&mut self, count: usize) {
        let running = &mut self.replica.running;
        let all = running[..count].iter().all(|sequence| sequence.tokens > 0);
        if all && count == running.len() && self.draft.planned.is_empty() {
            std::mem::swap(running, &mut self.draft.planned);
            return;
        }
        for sequence in running.drain(..count) {
            let PlanDraft { planned, chunks, .. } = &mut *self.draft;
            if sequence.tokens > 0 { planned } else { chunks }.push(sequence);
        }
    }

    /// Lets the group of the first running request decode (all its members, one token each and the
    /// drafts for which their blocks have room).
    pub fn decode_first_group(&mut self) {
        self.draft.fit = Fit::Reserved;
        if self.group_is_idle() {
            let alone = self.replica.running.is_empty();
            if alone
                && self.replica.decoding.is_one_block_group()
                && self.plan_group(Fit::Reserved, usize::MAX, 0)
            {
                return;
            }
            self.dissolve();
        }
        let Some(group) = self.replica.running.first().map(|s| s.group) else { return };
        let before = self.draft.planned.len();
        self.draft.planned.extend(self.replica.running.extract_if(.., |s| s.group == group));
        let mut added = 0;
        for index in before..self.draft.planned.len() {
            let fed = self.fed_within_blocks(&self.draft.planned[index]);
            self.draft.planned[index].tokens = fed;
            added += fed;
        }
        self.count_tokens(added);
    }

    /// Continues the incomplete prefills that [`PlanView::decode`] came past, in order, each with
    /// the rest of its prompt or what is left of `budget` tokens for the whole batch. Those for
    /// which nothing is left go to the front of the running list.
    pub fn extend_prefills(&mut self, budget: u32) {
        let PlanDraft { planned, chunks, planned_tokens, .. } = &mut *self.draft;
        let before = planned.len();
        let mut fed = 0;
        planned.extend(chunks.extract_if(.., |sequence| {
            let left = budget.saturating_sub(*planned_tokens + fed);
            sequence.tokens = left.min(sequence.prompt - sequence.processed);
            fed += sequence.tokens;
            sequence.tokens > 0
        }));
        self.count_tokens(fed);
        if self.replica.kv.caches_prefixes() {
            for index in before..self.draft.planned.len() {
                let sequence = self.draft.planned[index];
                self.cache_filled(&sequence);
            }
        }
        self.return_chunks();
    }

    /// Puts the incomplete prefills that get nothing in this batch in front of the running list.
    pub(super) fn return_chunks(&mut self) {
        if !self.draft.chunks.is_empty() {
            self.replica.running.splice(0..0, self.draft.chunks.drain(..));
        }
    }

    /// Sorts the running requests that are not in the batch by arrival (stable).
    pub fn sort_running_by_arrival(&mut self) {
        self.sort_running(|s| s.arrived_at, DecodeGroup::last_arrival);
    }

    /// Sorts the running requests that are not in the batch in the order of their admission.
    pub fn sort_running_by_admission(&mut self) {
        self.sort_running(|s| s.admission, DecodeGroup::last_admission);
    }
}

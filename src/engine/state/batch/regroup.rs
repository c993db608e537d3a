//! How a replica's running requests move between the plain list and the decode group.
//!
//! The running list has an order, which is the policy's. While the group is in use, it holds those
//! that decode and the plain list the others, and each has its `place` in the whole list.

use bevy_ecs::error::Result;

use super::DecodeGroup;
use crate::engine::state::Replica;
use crate::engine::state::request::{RequestQuery, Sequence};

/// So many batches are planned with the plain list before the group is gathered again: gathering
/// costs more than a few of them.
const PLAIN_FOR: u32 = 4;

/// In which form a replica keeps its running requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Requests that decode are in the group, the others in the plain list.
    Grouped,
    /// All are in the plain list, for so many batches more.
    Plain(u32),
    /// Always in the plain list: pipelines, where a group would be in several batches at once, and
    /// speculative decoding, where requests gain different numbers of tokens.
    AlwaysPlain,
}

impl Replica {
    /// Puts the members of a batch that go on behind the running list, in batch order.
    pub(crate) fn rejoin(&mut self, members: &mut Vec<Sequence>, with_group: bool) {
        match &mut self.form {
            Form::Grouped => {
                if with_group {
                    // Who was left out of the batch is now in front of those who were in it.
                    for sequence in self.running.iter_mut().rev() {
                        self.first_place -= 1;
                        sequence.place = self.first_place;
                    }
                }
                self.regroup(members);
                return;
            }
            Form::AlwaysPlain => {}
            Form::Plain(left) => {
                *left -= 1;
                if *left == 0 {
                    let mut all = std::mem::take(&mut self.running);
                    all.append(members);
                    self.form = Form::Grouped;
                    self.regroup(&mut all);
                    return;
                }
            }
        }
        match self.running.is_empty() {
            true => std::mem::swap(&mut self.running, members),
            false => self.running.append(members),
        }
    }

    /// Appends `list` to the running list in grouped form.
    fn regroup(&mut self, list: &mut Vec<Sequence>) {
        for mut sequence in list.drain(..) {
            sequence.place = self.next_place();
            match sequence.prefilled {
                true => self.decoding.join(sequence),
                false => self.running.push(sequence),
            }
        }
    }

    fn next_place(&mut self) -> i64 {
        self.last_place += 1;
        self.last_place
    }

    /// Whether the group is in use and its members are in no batch.
    pub(crate) fn has_idle_group(&self) -> bool {
        !self.decoding.is_empty() && !self.decoding.in_batch
    }

    /// Puts all running requests into the plain list, in its order.
    ///
    /// # Errors
    /// One of them has no entity.
    pub(crate) fn dissolve(&mut self, requests: &mut RequestQuery<'_, '_>) -> Result {
        if self.form != Form::Grouped || self.decoding.is_empty() {
            return Ok(());
        }
        self.form = Form::Plain(PLAIN_FOR);
        let merge = !self.running.is_empty();
        let mut given = Ok(());
        self.decoding.dissolve(&mut self.running, |entity, blocks| {
            match requests.get_mut(entity) {
                Ok((mut table, ..)) => table.0.extend(blocks),
                Err(error) => given = Err(error),
            }
        });
        if merge {
            self.running.sort_by_key(|sequence| sequence.place);
        }
        Ok(given?)
    }

    /// Sorts the running requests that are in no batch by `key`, those with equal keys as they
    /// were. `of_group` is the key of the group's last member if the group is in this order.
    ///
    /// # Errors
    /// As [`Replica::dissolve`].
    pub(crate) fn sort_running<K: Ord + Copy>(
        &mut self,
        key: impl Fn(&Sequence) -> K,
        of_group: impl Fn(&DecodeGroup) -> Option<K>,
        group_is_idle: bool,
        requests: &mut RequestQuery<'_, '_>,
    ) -> Result {
        if group_is_idle {
            let first = self.running.iter().map(&key).min();
            let behind =
                of_group(&self.decoding).is_some_and(|last| first.is_none_or(|first| last < first));
            if !behind {
                self.dissolve(requests)?;
            }
        }
        if !self.running.is_sorted_by_key(&key) {
            self.running.sort_by_key(&key);
        }
        if self.form == Form::Grouped && group_is_idle {
            for index in 0..self.running.len() {
                self.running[index].place = self.next_place();
            }
        }
        Ok(())
    }
}

//! The systems of a step, one a file, and what they share. [`super::schedule`] orders them.

mod ask_admission;
mod bring_in_arrivals;
mod complete_batches;
mod cut_off_runs;
mod despawn_ended;
mod dispatch_events;
mod launch_batches;
mod price_run;
mod record_ended;
mod route_requests;
mod schedule_batches;
mod send_transfers;
mod spawn_blocks;

pub(crate) use ask_admission::{Gates, ask_admission};
pub(crate) use bring_in_arrivals::bring_in_arrivals;
pub(crate) use complete_batches::complete_batches;
pub(crate) use cut_off_runs::cut_off_runs;
pub(crate) use despawn_ended::despawn_ended;
pub(crate) use dispatch_events::dispatch_events;
pub(crate) use launch_batches::launch_batches;
pub(crate) use record_ended::{record, record_ended};
pub(crate) use route_requests::{Routers, route_requests};
pub(crate) use schedule_batches::schedule_batches;
pub(crate) use send_transfers::send_transfers;
pub(crate) use spawn_blocks::spawn_blocks;

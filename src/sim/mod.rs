//! The simulation: time, random streams, phases and the driver.
//!
//! [`Simulation`] owns a `bevy_ecs` world and systems that run once per distinct time, phase by phase
//! ([`Phase`]); what happens at equal times is decided by the order of phases and by nothing else.

mod admit;
mod agenda;
mod arrive;
mod commit_run;
mod control;
mod driver;
mod engine;
mod finish;
mod floor;
mod hand_over;
mod launch;
mod ledger;
mod link;
mod lists;
mod observe;
mod phase;
mod random;
mod series;
mod spec;
mod speculate;
mod time;
mod turn;

pub(crate) use agenda::{Agenda, Event};
pub use arrive::Window as SimWindow;
pub(crate) use control::Control;
pub use driver::{Simulation, StepDigest};
pub(crate) use engine::{Engine, Pool};
pub(crate) use finish::depart;
pub(crate) use floor::Floor;
pub use hand_over::{HandOver, HandedOver};
pub(crate) use hand_over::{Ready, Transfers, receive, send};
pub(crate) use ledger::{Counts, Ledger};
pub(crate) use lists::Worklists;
pub use phase::{Phase, StepSystem};
pub use random::RandomStream;
pub(crate) use series::Series;
pub use spec::{PoolSpec, SimError, SimSpec, Traffic};
pub(crate) use time::Instant;
pub use time::Nanos;
pub use turn::TurnPart;
pub(crate) use turn::turn;

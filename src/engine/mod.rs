//! The simulation: phases, the driver, and what plugs into them.
//!
//! [`Simulation`] owns a `bevy_ecs` world and systems that run once per distinct time, phase by phase
//! ([`Phase`]); what happens at equal times is decided by the order of phases and by nothing else.

pub mod admission;
mod admit;
mod agenda;
mod arrive;
mod commit_run;
mod control;
mod driver;
mod finish;
mod floor;
mod hand_over;
mod launch;
mod ledger;
mod link;
mod lists;
pub mod lora;
mod observe;
mod phase;
pub mod policy;
mod pools;
pub mod routing;
mod series;
mod spec;
mod speculate;
pub mod speculation;
pub mod state;
mod turn;

pub(crate) use agenda::{Agenda, Event};
pub use arrive::Window as SimWindow;
pub(crate) use control::Control;
pub use driver::{Simulation, StepDigest};
pub(crate) use finish::depart;
pub(crate) use floor::Floor;
pub use hand_over::{HandOver, HandedOver};
pub(crate) use hand_over::{Ready, Transfers, receive, send};
pub(crate) use ledger::{Counts, Ledger};
pub(crate) use lists::Worklists;
pub use phase::{Phase, StepSystem};
pub(crate) use pools::{Engine, Pool};
pub(crate) use series::Series;
pub use spec::{PoolSpec, SimError, SimSpec, Traffic};
pub use turn::TurnPart;
pub(crate) use turn::turn;

//! The simulation: time, random streams, phases and the driver.
//!
//! [`Simulation`] owns a `bevy_ecs` world and a schedule that runs once per distinct time. The
//! schedule is a chain of phases ([`Phase`]); what happens at equal times is decided by their
//! order and by nothing else.

mod arrive;
mod driver;
mod events;
mod finish;
mod launch;
mod ledger;
mod lists;
mod observe;
mod phase;
mod random;
mod spec;
mod time;

pub use driver::{Simulation, StepDigest};
pub use events::Clock;
pub(crate) use events::{Due, Event, EventQueue};
pub(crate) use ledger::{Ledger, Outbox};
pub(crate) use lists::{Ended, Limits, ToServe, Touched};
pub use phase::Phase;
pub use random::RandomStream;
pub use spec::{SimError, SimSpec};
pub use time::Nanos;

//! The simulation: a `bevy_ecs` world, and the systems that advance it.
//!
//! [`Simulation`] owns the world and runs its systems once per distinct time, in the order of
//! [`StepSet`]; what happens at equal times is decided by that order and by nothing else. What the
//! systems share beside the components ([`state`]) is one resource, [`SimState`].

pub mod admission;
mod arrivals;
mod build;
mod commit;
mod commit_run;
mod commit_speculation;
mod driver;
mod event_queue;
mod events;
mod executor;
mod extensions;
mod hand_over;
mod hot_query;
mod hot_state;
mod ledger;
mod lists;
pub mod lora;
pub mod policy;
mod pools;
mod progress;
mod queries;
pub mod routing;
mod schedule;
mod series;
mod sim_state;
mod spec;
pub mod speculation;
pub mod state;
mod systems;
mod transition;

pub use driver::{Simulation, StepDigest};
pub(crate) use event_queue::{Delivery, Event, EventQueue};
pub use events::{Admitted, Arrived, Finished, FirstToken, LifecycleEvent, Preempted, Rejected};
pub use extensions::Extensions;
pub use hand_over::HandOver;
pub(crate) use ledger::{Counts, Ledger};
pub(crate) use lists::Worklists;
pub(crate) use pools::{Engine, Pool};
pub use progress::{Progress, RequestProgress};
#[doc(hidden)]
pub use schedule::StepOutcome;
pub use schedule::{StepPlace, StepSet};
pub(crate) use series::Series;
pub use sim_state::SimState;
pub use spec::{PoolSpec, SimError, SimSpec, Traffic};

//! What every phase works on.

use super::arrive::Arrivals;
use super::{Agenda, Engine, Ledger, Worklists};

/// The clock and what is to come, the lists between the phases and the books. It lies beside the world and
/// is handed to each system: fetching a resource costs as much as many systems do in a step.
pub struct Control {
    /// What does not change.
    pub engine: Engine,
    pub agenda: Agenda,
    pub arrivals: Arrivals,
    pub lists: Worklists,
    pub ledger: Ledger,
}

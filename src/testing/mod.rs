//! Checks for policies, built-in or a user's own: [`assert_policy_ok`] runs a policy over random
//! scenarios and audits the books after every step.

mod audit;
mod policy_check;
mod random_scenario;

pub use audit::audit;
pub use policy_check::{PolicyCheck, assert_policy_ok};
pub use random_scenario::{LinearTime, RandomScenario};

//! Checks for policies, built-in or a user's own: [`assert_policy_ok`] runs a policy over random
//! scenarios and recounts everything after every step. `check_results` checks what a run wrote.

mod audit;
mod block_audit;
mod check_results;
mod policy_check;
mod random_scenario;
mod scenario_text;

pub use audit::audit;
#[doc(hidden)]
pub use check_results::check_results;
pub use policy_check::{PolicyCheck, assert_policy_ok};
pub use random_scenario::{LinearTime, RandomScenario};
#[doc(hidden)]
pub use scenario_text::random_scenario_text;

//! Routers: which replica serves a request. One file each, and a line in
//! [`crate::registry::Registry::built_in`].

mod any;
mod least_outstanding;
mod loads;
mod lora_affinity;
mod power_of_two;
mod prefix_affinity;
mod prefix_index;
mod random;
mod round_robin;
mod vidur_lor;
mod vllm_data_parallel;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use any::AnyRouter;
pub use least_outstanding::LeastOutstanding;
pub use loads::Loads;
pub(crate) use loads::PoolLoads;
pub use lora_affinity::LoraAffinity;
pub use power_of_two::PowerOfTwo;
pub use prefix_affinity::PrefixAffinity;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use vidur_lor::VidurLor;
pub use vllm_data_parallel::VllmDataParallel;

use crate::base::{Nanos, RandomStream, SettingError};
use crate::engine::state::kv::PrefixHash;

/// What a router knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// Its id.
    pub id: u64,
    /// Now.
    pub now: Nanos,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Identities of the full KV blocks of its prompt, each of the block's tokens and all before
    /// them. Empty if prefix caching is off.
    pub prefix: &'a [PrefixHash],
    /// Tokens per KV block.
    pub block_size: u32,
    /// The LoRA adapter that it wants; `None` for the model itself.
    pub adapter: Option<u32>,
}

/// A routing policy, which is its own settings at once: the fields that serde sees are what a
/// scenario may set, the others are state. Every pool of replicas has a router of its own.
pub trait Router: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Whether it is only of use where LoRA adapters are served.
    const NEEDS_ADAPTERS: bool = false;

    /// Complains about settings that make no sense.
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }

    /// Number of the replica for `request`, counted in the router's pool. `loads` counts every
    /// request that was routed before, also at this very time. `random` is the stream of this
    /// purpose alone.
    fn route(
        &mut self,
        request: &RouteRequest,
        loads: &mut Loads,
        random: &mut RandomStream,
    ) -> u32;
}

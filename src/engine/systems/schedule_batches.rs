//! Scheduling: policies plan batches of the replicas for which something happened.

use crate::engine::hot_query::HotQuery;
use crate::engine::policy::{Plans, Policy};

/// Lets the replicas with policy `P` that may plan do so, as long as slots are free and something
/// is planned.
pub(crate) fn schedule_batches<P: Policy>(mut plans: Plans, mut policies: HotQuery<&mut P>) {
    for place in 0..plans.num_ready() {
        let Some(replica) = plans.ready_at(place) else { return };
        // Others have another policy.
        let Ok(mut policy) = policies.get_mut(replica) else { continue };
        while let Some(mut view) = plans.begin(replica) {
            policy.plan(&mut view);
        }
    }
}

//! Settings that are written and change nothing in this scenario.

use super::cluster::Configuration;
use super::document::Document;
use super::pool::PoolConfig;
use crate::base::Diagnostic;

/// A warning for each setting that has no effect in any of the configurations.
pub(super) fn warnings(document: &Document, all: &[Configuration]) -> Vec<Diagnostic> {
    let pools = || all.iter().flat_map(|one| &one.cluster.pools);
    let mut idle = Vec::new();
    if pools().all(|pool| pool.parallel.gpus() == 1) {
        idle.push(("cluster.network", "every replica has a single GPU"));
    }
    let beyond = |pool: &PoolConfig| pool.limits.max_model_len > pool.model.max_position;
    if !pools().any(beyond) {
        idle.push((
            "engine.allow_long_max_model_len",
            "max_model_len is not beyond the model's limit",
        ));
    }
    let written =
        |path: &str| document.node(path).is_some_and(|n| document.slice(&n.span) != "false");
    idle.into_iter()
        .filter(|(path, _)| written(path))
        .map(|(path, why)| {
            let place = document.place(&document.locate_nearest(path));
            Diagnostic::warning(format!("`{path}` has no effect: {why}"))
                .at(place, "changes nothing")
        })
        .collect()
}

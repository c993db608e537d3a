//! Scenarios with several models: `models: (chat: (...), code: (...))`.
//!
//! Each model's section is merged into the rest of the scenario, as a variant's is, and what comes
//! out is read like a scenario with one model.

use super::document::{Document, Kind};
use super::raw::COMMON_FIELDS;
use super::sharing::GpuSharing;
use crate::base::Diagnostic;

/// What a model cannot have for itself, beside [`COMMON_FIELDS`].
const CLUSTER_FIELDS: [&str; 5] = ["models", "serve", "gpus", "disaggregated", "time_limit_s"];

/// One of the models.
pub(super) struct Part {
    /// Its name under `models`.
    pub name: String,
    /// The scenario as it would be with this model alone.
    pub document: Document,
}

/// A scenario's models.
pub(super) struct Several {
    /// The models that are served; at least one.
    pub parts: Vec<Part>,
    /// The names of all.
    pub names: Vec<String>,
    /// On which GPUs they run.
    pub gpus: GpuSharing,
}

/// The models of a scenario; `None` for a scenario with one model.
pub(super) fn read(document: &Document) -> Result<Option<Several>, Box<Diagnostic>> {
    let Some(node) = document.node("models") else {
        for field in ["serve", "gpus"] {
            if let Some(node) = document.node(field) {
                return Err(Box::new(
                    Diagnostic::error(format!("`{field}` is given without `models`"))
                        .at(document.place(&node.span), "has no meaning for a single model"),
                ));
            }
        }
        return Ok(None);
    };
    let serve: Option<Vec<String>> =
        document.node("serve").map(|node| document.read(node)).transpose()?;
    let serve = serve.as_deref();
    let gpus = document.node("gpus").map(|node| document.read(node)).transpose()?;
    if !matches!(node.kind, Kind::Struct(_)) || node.fields().is_empty() {
        return Err(Box::new(
            Diagnostic::error("`models` is not a group of models")
                .at(document.place(&node.span), "expected `(name: (model: ...), ...)`"),
        ));
    }
    let name = |field: &super::document::Field| document.slice(&field.key).to_owned();
    let names: Vec<String> = node.fields().iter().map(name).collect();
    if let Some(stranger) = serve.unwrap_or_default().iter().find(|n| !names.contains(n)) {
        let place = document.place(&document.locate_nearest("serve"));
        return Err(Box::new(
            Diagnostic::error(format!("`serve` names the unknown model `{stranger}`"))
                .at(place, format!("the models are {}", names.join(", "))),
        ));
    }
    let mut parts = Vec::new();
    for field in node.fields() {
        let name = name(field);
        for changed in field.value.fields() {
            let key = document.slice(&changed.key);
            if COMMON_FIELDS.contains(&key) || CLUSTER_FIELDS.contains(&key) {
                return Err(Box::new(
                    Diagnostic::error(format!("a model cannot have its own `{key}`"))
                        .at(document.place(&changed.key), "the same for all models")
                        .help("move it out of `models`"),
                ));
            }
        }
        if serve.is_none_or(|serve| serve.contains(&name)) {
            let document = document.merged_with(document, &field.value)?;
            parts.push(Part { name, document });
        }
    }
    if parts.is_empty() {
        let place = document.place(&document.locate_nearest("serve"));
        return Err(Box::new(
            Diagnostic::error("no model is served").at(place, "expected names of `models`"),
        ));
    }
    Ok(Some(Several { parts, names, gpus: gpus.unwrap_or_default() }))
}

//! The model that a scenario names: a built-in one, or that of a HuggingFace `config.json`.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::document::{Document, Kind};
use crate::base::{Diagnostic, suggest};
use crate::hardware::model;
use crate::hardware::model::ModelSpec;

/// A model as a scenario writes it, without quotes around the name of the kind.
#[derive(Debug, Deserialize, Serialize)]
enum FromFile {
    /// A `config.json`, or the folder that holds it, relative to the scenario.
    HuggingFace(String),
}

/// The model at `model`, and the file that it is described by, as written, unless it is built in.
pub(super) fn read(
    document: &Document,
    base_dir: &Path,
) -> Result<(Arc<ModelSpec>, Option<String>), Box<Diagnostic>> {
    let span = document.locate_nearest("model");
    let place = || document.place(&span);
    match document.node("model") {
        // A bare name is most likely one without its quotes.
        Some(node) if node.name.is_some() && node.kind != Kind::Unit => {
            let FromFile::HuggingFace(written) = document.read(node)?;
            let mut path = base_dir.join(&written);
            if path.is_dir() {
                path.push("config.json");
            }
            let spec = ModelSpec::from_hf_config(&path).map_err(|error| {
                Diagnostic::error(error.to_string())
                    .at(place(), "no model can be read from there")
                    .help("expected a HuggingFace config.json, or the folder that holds one")
            })?;
            Ok((Arc::new(under_our_name(spec)), Some(written)))
        }
        Some(node) => {
            let name: String = document.read(node)?;
            let spec = model::find(&name).ok_or_else(|| {
                let other = "any other model: HuggingFace(\"FILE\"), its config.json";
                Diagnostic::error(format!("unknown model `{name}`"))
                    .at(place(), "no model has this name")
                    .helps(suggest::help(&name, model::names()))
                    .help(other)
            })?;
            Ok((Arc::new(spec.clone()), None))
        }
        None => Err(Box::new(
            Diagnostic::error("field `model` is missing").at(place(), "needs `model: ...`"),
        )),
    }
}

/// A model as it is written in the resolved scenario.
pub(super) fn to_ron(spec: &ModelSpec, config: Option<&str>) -> Result<String, ron::Error> {
    match config {
        Some(file) => ron::to_string(&FromFile::HuggingFace(file.to_owned())),
        None => ron::to_string(&spec.name),
    }
}

/// The config of a model that is built in has its HuggingFace name; results are to have ours, by
/// whichever way the model was named.
fn under_our_name(spec: ModelSpec) -> ModelSpec {
    match model::find(&spec.name) {
        Some(known) if ModelSpec { name: known.name.clone(), ..spec.clone() } == *known => {
            known.clone()
        }
        _ => spec,
    }
}

//! The model that a scenario names: a built-in one, or that of a HuggingFace `config.json`.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::document::{Document, Kind};
use crate::base::{Diagnostic, Place, suggest};
use crate::hardware::model;
use crate::hardware::model::ModelSpec;

/// A model as a scenario writes it, without quotes around the name of the kind.
#[derive(Debug, Deserialize, Serialize)]
enum FromFile {
    /// A `config.json`, or the folder that holds it, relative to the scenario.
    HuggingFace(String),
}

/// A model that a scenario names.
pub(super) struct Named {
    pub spec: Arc<ModelSpec>,
    /// The file that describes it, as written, unless it is built in.
    pub config: Option<String>,
}

/// The model at `model`. What its config says and is not modelled has to be in `allowed`.
pub(super) fn read(
    document: &Document,
    base_dir: &Path,
    allowed: &[String],
    warnings: &mut Vec<Diagnostic>,
) -> Result<Named, Box<Diagnostic>> {
    let span = document.locate_nearest("model");
    let place = || document.place(&span);
    let named = match document.node("model") {
        // A bare name is most likely one without its quotes.
        Some(node) if node.name.is_some() && node.kind != Kind::Unit => {
            let FromFile::HuggingFace(written) = document.read(node)?;
            let spec = ModelSpec::from_hf_config(&base_dir.join(&written), allowed)
                .map_err(|error| in_scenario(*error, place()))?;
            Named { spec: Arc::new(under_our_name(spec)), config: Some(written) }
        }
        Some(node) => {
            let name: String = document.read(node)?;
            let spec = model::find(&name).ok_or_else(|| {
                let other = "`vidur-ecs list` shows the built-in models; give any other as \
                             HuggingFace(\"FILE\"), its config.json";
                let near =
                    model::closest(&name).or_else(|| suggest::closest(&name, model::names()));
                Diagnostic::error(format!("unknown model `{name}`"))
                    .at(place(), "no model has this name")
                    .helps(near.map(|near| format!("did you mean `{near}`?")))
                    .help(other)
            })?;
            Named { spec: Arc::new(spec.clone()), config: None }
        }
        None => {
            return Err(Box::new(
                Diagnostic::error("field `model` is missing").at(place(), "needs `model: ...`"),
            ));
        }
    };
    let needless = allowed.iter().filter(|key| !named.spec.unmodelled.contains(key));
    for key in needless {
        let place = document.place(&document.locate_nearest("allow_unmodelled"));
        let title =
            format!("`allow_unmodelled` names `{key}`, which {} does not need", named.spec.name);
        warnings.push(Diagnostic::warning(title).at(place, "has no effect"));
    }
    Ok(named)
}

/// What is wrong with a config, for a reader of the scenario that names it.
fn in_scenario(error: Diagnostic, place: Place) -> Box<Diagnostic> {
    let (line, column) = place.line_column();
    Box::new(match error.place {
        Some(_) => error.note(format!("the model of {}:{line}:{column}", place.source.name)),
        None => error
            .at(place, "no model can be read from there")
            .help("expected a HuggingFace config.json, or the folder that holds one"),
    })
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

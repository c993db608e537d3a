//! Admission control and classes of requests, from their settings to what a run needs.

use super::diagnostic::Diagnostic;
use super::document::Document;
use super::models::Several;
use super::plugins;
use super::raw::RawScenario;
use super::resolve::Configuration;
use super::setting_error::SettingError;
use crate::admission::{AdmissionClass, Gate};
use crate::metrics::Slo;
use crate::registry::{AnyAdmission, Registry};
use crate::workload::WorkloadSpec;

/// Reads `admission`, if it is given.
pub(super) fn read(
    document: &Document,
    registry: &Registry,
    raw: &RawScenario,
) -> Result<Option<Box<dyn AnyAdmission>>, Box<Diagnostic>> {
    if document.node("admission").is_none() {
        if raw.workload.retry_after_s.is_some() {
            let expected = "`admission`: without it no request is refused that could be served";
            let error = SettingError::new("workload.retry_after_s", "given", expected);
            return Err(Box::new(plugins::setting_error(document, "", &error)));
        }
        return Ok(None);
    }
    let control = plugins::read(document, "admission", registry.admissions(), None)?;
    control
        .check(&classes(&raw.workload, raw.slo.as_ref()))
        .map_err(|error| Box::new(plugins::setting_error(document, "admission", &error)))?;
    Ok(Some(control))
}

/// Refuses classes and LoRA adapters where there are several models.
pub(super) fn goes_with_models(several: &Several) -> Result<(), Box<Diagnostic>> {
    for part in &several.parts {
        no_adapters(&part.document, "`models`")?;
        if let Some(node) = part.document.node("workload.classes") {
            return Err(Box::new(
                Diagnostic::error("`classes` are given beside `models`")
                    .at(
                        part.document.place(&node.span),
                        "classes of several models are not modelled",
                    )
                    .help("a model has metrics, a priority and objectives of its own"),
            ));
        }
    }
    Ok(())
}

/// Refuses LoRA adapters at this place.
pub(super) fn no_adapters(document: &Document, why: &str) -> Result<(), Box<Diagnostic>> {
    let Some(node) = document.node("engine.lora") else { return Ok(()) };
    Err(Box::new(
        Diagnostic::error(format!("`engine.lora` is given beside {why}"))
            .at(document.place(&node.span), "the combination is not modelled"),
    ))
}

/// The classes of a workload as admission control knows them.
fn classes(workload: &WorkloadSpec, common: Option<&Slo>) -> Vec<AdmissionClass> {
    let Some(classes) = &workload.classes else {
        return vec![AdmissionClass { name: String::new(), slo: common.cloned() }];
    };
    let class = |(name, class): (&String, &crate::workload::ClassSpec)| AdmissionClass {
        name: name.clone(),
        slo: class.slo.as_ref().or(common).cloned(),
    };
    classes.iter().map(class).collect()
}

impl Configuration {
    /// The admission control of a run, if there is any.
    pub fn gate(&self) -> Option<Gate> {
        self.admission.as_ref().map(|control| Gate {
            control: control.boxed(),
            classes: classes(&self.workload_spec, self.slo.as_ref()),
            by_priority: self.policy.schedules_by_priority(),
        })
    }
}

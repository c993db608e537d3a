//! Admission control and classes of requests, from their settings to what a run needs.

use super::cluster::Cluster;
use super::document::Document;
use super::plugins;
use super::pool::PoolConfig;
use super::raw::RawScenario;
use crate::base::{Diagnostic, SettingError};
use crate::engine::admission::{AdmissionClass, AnyAdmission, Gate};
use crate::registry::Registry;
use crate::workload::{Slo, WorkloadSpec};

/// Reads `admission`, if it is given.
pub(super) fn read(
    document: &Document,
    registry: &Registry,
    raw: &RawScenario,
) -> Result<Option<Box<dyn AnyAdmission>>, Box<Diagnostic>> {
    if document.node("admission").is_none() {
        if raw.workload.retry_after_s.is_some() {
            let expected = "`admission`: without it, no request that could be served is refused";
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

impl Cluster {
    /// The names of all classes in the order of their numbers in a run. Beside other models that of
    /// a class begins with its model's: `chat/interactive`.
    pub fn class_names(&self) -> Vec<String> {
        let of = |model: &PoolConfig| -> Vec<String> {
            let names = model.workload.classes().iter();
            match model.served_as.as_str() {
                "" => names.cloned().collect(),
                served_as => names.map(|name| format!("{served_as}/{name}")).collect(),
            }
        };
        self.entry_pools().iter().flat_map(of).collect()
    }

    /// The number in a run of the first class of each model, by the order of the models. Classes
    /// are numbered through all models; behind them comes one number for each model without any.
    pub fn first_classes(&self) -> Vec<u32> {
        let counts =
            || self.entry_pools().iter().map(|model| model.workload.classes().len() as u32);
        let (mut next, mut without) = (0, counts().sum());
        let mut first = |count: u32| {
            let number = if count > 0 { &mut next } else { &mut without };
            let first = *number;
            *number += count.max(1);
            first
        };
        counts().map(&mut first).collect()
    }
}

impl PoolConfig {
    /// The admission control of a run, if there is any.
    pub fn gate(&self) -> Option<Gate> {
        self.admission.as_ref().map(|control| Gate {
            control: control.boxed(),
            classes: classes(&self.workload_spec, self.slo.as_ref()),
            by_priority: self.policy.schedules_by_priority(),
        })
    }
}

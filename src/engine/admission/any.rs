//! Any admission control with its settings, whatever its type.

use super::{Admission, AdmissionClass, AdmissionRequest, PoolState};
use crate::base::{SettingError, write_fragment};

/// A kind of admission control with its settings.
pub trait AnyAdmission: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Checks as in [`Admission::check`].
    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError>;
    /// Decides as in [`Admission::admit`].
    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String>;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyAdmission>;
}

impl<A: Admission> AnyAdmission for A {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError> {
        Admission::check(self, classes)
    }
    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String> {
        Admission::admit(self, request, pool)
    }
    fn to_ron(&self) -> String {
        write_fragment(A::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyAdmission> {
        Box::new(self.clone())
    }
}

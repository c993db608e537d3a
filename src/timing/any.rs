//! Any kind of timing with its settings, whatever its type.

use std::sync::Arc;

use super::{Predictor, TimingContext, TimingSettings};
use crate::base::{SettingError, write_fragment};

/// Settings of a kind of timing.
pub trait AnyTiming: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Builds as in [`TimingSettings::build`].
    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError>;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyTiming>;
}

impl<T: TimingSettings> AnyTiming for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        TimingSettings::build(self, context)
    }
    fn to_ron(&self) -> String {
        write_fragment(T::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyTiming> {
        Box::new(self.clone())
    }
}

//! Scenario files: from RON text to a validated description of runs.

mod setting_error;

pub use setting_error::SettingError;

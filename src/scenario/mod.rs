//! Scenario files: from RON text to a validated description of runs.

pub mod diagnostic;
pub mod document;
pub mod import_vidur;
pub mod paths;
mod setting_error;
pub mod suggest;

pub use diagnostic::{Diagnostic, Severity};
pub use document::Document;
pub use setting_error::SettingError;

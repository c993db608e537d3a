//! Profiles: measured kernel times, in a compact format of our own, and importers of others'.

mod check;
mod error;
mod file;
pub mod format;
mod import_layerwise;
pub mod import_vidur;
pub mod layerwise;
mod layerwise_check;
mod layerwise_text;
mod shipped;
mod text;

pub use error::ProfileError;
pub use file::{read, write};
pub use format::Profile;
pub use import_layerwise::{ImportLayerwiseOptions, import_layerwise};
pub use import_vidur::{ImportVidurOptions, import_vidur};
pub use shipped::{Shipped, shipped};

//! Profiles: measured kernel times, in a compact format of our own, and importers of others'.

mod check;
mod error;
mod file;
pub mod format;
mod grid;
#[cfg(feature = "aisimulate")]
pub mod import_aisimulate;
mod import_layerwise;
pub mod import_vidur;
pub mod layerwise;
mod layerwise_check;
mod layerwise_text;
pub mod operators;
mod shipped;
mod text;
mod text_operators;
mod view;

pub use error::ProfileError;
pub use file::{read, write};
pub use format::Profile;
#[cfg(feature = "aisimulate")]
pub use import_aisimulate::{ImportAisimulateOptions, import_aisimulate};
pub use import_layerwise::{ImportLayerwiseOptions, import_layerwise};
pub use import_vidur::{ImportVidurOptions, import_vidur};
pub use shipped::{Shipped, shipped, shipped_network, shipped_operators};
pub use view::{NamedRow, Quality, TableView};

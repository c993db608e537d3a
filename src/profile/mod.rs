//! Profiles: measured kernel times, in a compact format of our own, and importers of others'.

mod check;
mod checked;
mod error;
pub(crate) mod file;
pub mod format;
#[cfg(feature = "cli")]
pub(crate) mod grid;
pub mod layerwise;
mod layerwise_check;
mod layerwise_text;
pub mod operators;
mod shipped;
mod text;
mod text_operators;
mod view;

pub use checked::{CheckedWith, NOT_CHECKED};
pub use error::ProfileError;
pub use file::read;
pub use format::Profile;
pub use shipped::{Shipped, shipped, shipped_network, shipped_operators};
pub use view::{NamedRow, Quality, TableView};

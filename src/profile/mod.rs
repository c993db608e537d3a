//! Profiles: measured kernel times, in a compact format of our own, and importers of others'.

mod check;
mod error;
pub(crate) mod file;
pub mod format;
pub(crate) mod grid;
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
pub use shipped::{Shipped, shipped, shipped_network, shipped_operators};
pub use view::{NamedRow, Quality, TableView};

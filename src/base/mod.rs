//! What everything else rests on: time, random streams, bounded reading, and messages about what a
//! user wrote.

#[doc(hidden)]
pub mod diagnostic;
mod fragment;
pub(crate) mod input;
mod json;
pub(crate) mod memory;
#[doc(hidden)]
pub mod paths;
mod random;
mod ron;
mod setting_error;
mod source;
pub(crate) mod suggest;
#[doc(hidden)]
pub mod text;
mod time;
mod units;

pub use diagnostic::Diagnostic;
#[doc(hidden)]
pub use diagnostic::Severity;
#[doc(hidden)]
pub use fragment::FragmentError;
pub(crate) use fragment::{read as read_fragment, write as write_fragment};
pub(crate) use json::{JsonDocument, shortened, shortened_text};
pub use random::RandomStream;
#[doc(hidden)]
pub use ron::ron_options;
pub use setting_error::SettingError;
pub(crate) use source::offset_of;
#[doc(hidden)]
pub use source::{ByteSpan, Place, Source};
pub(crate) use time::Instant;
pub use time::Nanos;
pub(crate) use units::GIB;

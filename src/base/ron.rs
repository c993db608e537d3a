//! How RON is read and written everywhere.

use ron::extensions::Extensions;

/// How scenarios are read and written: plain values stand for optional ones.
pub fn ron_options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

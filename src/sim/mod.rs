//! The simulation: time, random streams, phases and the driver.

mod random;
mod time;

pub use random::RandomStream;
pub use time::Nanos;

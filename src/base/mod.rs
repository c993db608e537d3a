//! What every layer may use: bounded reading, the memory that is left, texts for people.

pub mod input;
pub mod memory;
pub mod text;

#[path = "integration/reference.rs"]
mod reference;

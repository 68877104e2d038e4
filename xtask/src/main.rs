//! Every command of the workshop.
fn main() {}

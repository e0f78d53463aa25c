//! Returns before it has done anything.

fn main() {}

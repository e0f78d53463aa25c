//! A learner's days in a checkout.
//!
//! In a copy of the files that git tracks, which is built once under the target
//! directory. Minutes at first: `cargo test -p cli --test learner`.

#[path = "../support/mod.rs"]
mod support;

mod book;
mod days;
mod hints;
mod progress;
mod recorded;
mod reset;
mod solution;
mod watch;

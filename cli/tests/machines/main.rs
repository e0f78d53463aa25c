//! `lab` on machines that refuse something: which call failed, the likely
//! cause, the exact cure; and the next backend, if one can serve.

#[path = "../support/mod.rs"]
mod support;

fn _unused() {}

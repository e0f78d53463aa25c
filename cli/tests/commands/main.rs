//! `lab` as its user drives it: what it is told, what it says, how it exits.

#[path = "../support/mod.rs"]
mod support;

mod bad_programs;
mod board;
mod book;
mod check;
mod claims;
mod errno;
mod frames;
mod live;
mod run;
mod serve;

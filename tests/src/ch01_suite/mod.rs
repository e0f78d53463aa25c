//! Chapter 1: the protocol suite.

pub mod dns;
pub mod frames;

//! Chapter 1: the protocol suite.

pub mod dns;
pub mod arp;
pub mod encapsulate;
pub mod frames;

//! Chapter 1: the protocol suite.

pub mod arp;
pub mod dns;
pub mod encapsulate;
pub mod frames;

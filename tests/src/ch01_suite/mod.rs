//! Chapter 1: the protocol suite.

pub mod arp;
pub mod encapsulate;
pub mod frames;

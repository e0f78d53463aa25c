//! Chapter 1: the protocol suite.

pub mod frames;

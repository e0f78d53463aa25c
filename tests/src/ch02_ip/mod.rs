//! Chapter 2: IP.

pub mod ping;

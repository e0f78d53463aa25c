//! Chapter 3: TCP.

pub mod handshake;
pub mod time_wait;

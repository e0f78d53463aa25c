//! Chapter 3: TCP.

pub mod handshake;
// time_wait

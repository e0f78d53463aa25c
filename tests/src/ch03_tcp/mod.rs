//! Chapter 3: TCP.

pub mod handshake;
pub mod tcp_header;
pub mod time_wait;

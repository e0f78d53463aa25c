//! Chapter 3: TCP.

pub mod half_close;
pub mod handshake;
pub mod reset;
mod counters;
pub mod handshake;
pub mod nagle;
pub mod time_wait;

mod wire;

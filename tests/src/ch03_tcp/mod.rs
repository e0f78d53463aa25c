//! Chapter 3: TCP.

pub mod connect_timeout;
pub mod half_close;
pub mod handshake;
pub mod orphan;
mod counters;
pub mod half_close;
pub mod handshake;
pub mod nagle;
pub mod reset;
pub mod time_wait;

mod wire;
pub mod window;

//! Chapter 3: TCP.

mod counters;
pub mod half_open;
pub mod handshake;
pub mod nagle;
pub mod time_wait;
pub mod window;

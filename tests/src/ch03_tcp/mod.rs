//! Chapter 3: TCP.

pub mod congestion;
mod counters;
pub mod half_close;
pub mod handshake;
pub mod nagle;
pub mod reset;
pub mod rto;
mod tcp_info;
pub mod tcp_states;
pub mod time_wait;

mod wire;

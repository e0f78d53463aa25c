//! Chapter 3: TCP.

pub mod congestion;
pub mod connect_timeout;
pub mod half_close;
pub mod half_open;
pub mod handshake;
pub mod nagle;
pub mod orphan;
pub mod reset;
pub mod rto;
pub mod tcp_header;
mod tcp_info;
pub mod tcp_states;
pub mod time_wait;
pub mod window;
mod wire;

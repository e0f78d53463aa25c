//! Chapter 2: IP.

pub mod forward;
mod packets;

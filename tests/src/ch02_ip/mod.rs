//! Chapter 2: IP.

pub mod ipv4_header;
pub mod forward;
pub mod fragments;
mod packets;

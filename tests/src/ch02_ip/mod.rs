//! Chapter 2: IP.

pub mod forward;
pub mod fragments;
pub mod ipv4_header;
mod packets;
pub mod ping;
pub mod redirect;

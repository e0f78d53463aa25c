//! Chapter 2: IP.

pub mod ipv4_header;
pub mod ipv6;

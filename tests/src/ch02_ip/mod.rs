//! Chapter 2: IP.

pub mod forward;
pub mod fragments;
pub mod ipv4_header;
pub mod ipv6;
pub mod packets;
pub mod ping;
pub mod redirect;
pub mod routes;

//! Chapter 5: the socket API.

pub mod accept;
pub mod backlog;
pub mod byteorder;
pub mod oob;
pub mod sock_names;
pub mod udp;

pub mod peer;
mod udp_table;

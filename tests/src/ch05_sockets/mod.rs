//! Chapter 5: the socket API.

pub mod accept;
pub mod backlog;
pub mod byteorder;
pub mod netdb;
pub mod oob;
pub mod sockopts;

pub mod peer;

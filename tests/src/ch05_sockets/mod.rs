//! Chapter 5: the socket API.

pub mod accept;
pub mod backlog;
pub mod byteorder;
// oob

mod peer;

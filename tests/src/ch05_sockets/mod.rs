//! Chapter 5: the socket API.

pub mod backlog;
pub mod byteorder;
// accept
// oob

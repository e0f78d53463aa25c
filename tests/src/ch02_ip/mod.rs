//! Chapter 2: IP.

pub mod forward;
pub mod fragments;
mod packets;
pub mod redirect;

//! Chapter 5: the socket API.

pub mod accept;
pub mod backlog;
pub mod bind_errors;
pub mod byteorder;
pub mod close_shutdown;
pub mod connect_errors;
pub mod inet_text;
pub mod netdb;
pub mod oob;
pub mod sendmsg;
pub mod sock_names;
pub mod sockaddr;
pub mod sockopts;
pub mod udp;

pub mod peer;
mod udp_table;

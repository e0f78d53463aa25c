//! Chapter 4: a Web page through a proxy.

pub mod cookies;
pub mod http_get;

pub mod server;

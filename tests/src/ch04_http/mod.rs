//! Chapter 4: a Web page through a proxy.

pub mod http_get;

pub mod server;

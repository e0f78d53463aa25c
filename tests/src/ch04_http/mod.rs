//! Chapter 4: a Web page through a proxy.

pub mod cookies;
pub mod forward_proxy;
pub mod http_get;
pub mod resolve;

pub mod browser;
pub mod server;

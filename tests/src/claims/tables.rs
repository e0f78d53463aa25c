//! Routes, neighbours and interfaces, by rtnetlink(7). Each acts on the network
//! of the thread that calls it: for `host.at`.

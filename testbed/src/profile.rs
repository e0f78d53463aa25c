//! The two ways a modern kernel can behave: as the 2013 text says, or as it is.

use serde::{Deserialize, Serialize};

/// A set of sysctls that every host of a network gets.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// TCP with the timers and the loss recovery of about 2013.
    Book,
    /// The kernel's own defaults.
    #[default]
    Modern,
}

/// What `book` sets: name under /proc/sys/net, value, and what that undoes. A
/// kernel that does not know a name never had the behaviour.
const BOOK: &[(&str, &str, &str)] = &[
    (
        "ipv4/tcp_syn_linear_timeouts",
        "0",
        "SYNs are sent again after 1, 2, 4 ... s; since Linux 6.5 a SYN is \
         first sent again every second",
    ),
    ("ipv4/tcp_early_retrans", "0", "no tail loss probe (Linux 3.10)"),
    ("ipv4/tcp_recovery", "0", "no RACK loss detection (Linux 4.4)"),
    ("ipv4/tcp_autocorking", "0", "small writes are not merged (Linux 3.14)"),
    ("ipv4/tcp_congestion_control", "reno", "RFC 5681 as the text tells it"),
];

/// What both set, so that a run does not depend on the machine's settings or
/// on the runs before it.
const ALWAYS: &[(&str, &str)] = &[
    ("ipv4/tcp_no_metrics_save", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
];

/// What `modern` sets: Linux's default where a distribution or an
/// administrator may have chosen another.
const MODERN: &[(&str, &str)] = &[
    // Where cubic may not be set in a namespace (tcp_allowed_congestion_control
    // does not list it), every host has reno, as every machine allows.
    ("ipv4/tcp_congestion_control", "reno"),
    ("ipv4/tcp_congestion_control", "cubic"),
];

impl Profile {
    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Book => "book",
            Profile::Modern => "modern",
        }
    }

    /// What it changes: names under /proc/sys/net.
    pub fn settings(self) -> Vec<&'static str> {
        match self {
            Profile::Book => BOOK.iter().map(|row| row.0).collect(),
            Profile::Modern => MODERN.iter().map(|row| row.0).collect(),
        }
    }

    /// What it sets: names under /proc/sys/net, and values.
    pub(crate) fn sysctls(self) -> Vec<(&'static str, &'static str)> {
        let own: Vec<_> = match self {
            Profile::Book => BOOK.iter().map(|row| (row.0, row.1)).collect(),
            Profile::Modern => MODERN.to_vec(),
        };
        ALWAYS.iter().copied().chain(own).collect()
    }
}

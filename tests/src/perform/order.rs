//! What a person tells the wire while a scenario plays.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use testbed::{Console, Error, Rule};

use crate::stage::LAPTOP;

/// Each order's word and meaning, for help texts; any other order is a rule.
pub const ORDERS: &[(&str, &str)] = &[
    ("cut", "cut the cable: no link goes down, nothing arrives"),
    ("plug", "mend the cable"),
    ("release", "let every held frame go"),
];

/// An order to the wire: one of [`ORDERS`], or a rule, which is armed at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Order {
    /// Cuts the cable of the host that connects: between two hosts, the cable.
    Cut,
    /// Mends it.
    Plug,
    /// Lets go of what rules have kept, the scenario's rules too.
    Release,
    /// Arms a rule.
    Arm(Rule),
}

/// How an order crosses to the process that plays: a line of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) order: Order,
}

impl Order {
    /// Carries it out; it is then a step of the host `wire` in the trace.
    pub(super) fn carry_out(self, wire: &Console) -> testbed::Result<()> {
        match self {
            Order::Cut => wire.cut(LAPTOP),
            Order::Plug => wire.plug(LAPTOP),
            Order::Release => wire.release(),
            Order::Arm(rule) => wire.arm(rule),
        }
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Order, Error> {
        Ok(match text.trim() {
            "cut" => Order::Cut,
            "plug" => Order::Plug,
            "release" => Order::Release,
            rule => Order::Arm(rule.parse()?),
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Cut => f.write_str("cut"),
            Order::Plug => f.write_str("plug"),
            Order::Release => f.write_str("release"),
            Order::Arm(rule) => rule.fmt(f),
        }
    }
}

impl TryFrom<String> for Order {
    type Error = Error;

    fn try_from(text: String) -> Result<Order, Error> {
        text.parse()
    }
}

impl From<Order> for String {
    fn from(order: Order) -> String {
        order.to_string()
    }
}

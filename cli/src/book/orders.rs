//! The commands of a page, and those of them that are recorded.

use anyhow::{Context, bail, ensure};

use super::expand::Page;
use super::page::{Block, Settings, blocks, line_of};

/// A command that `lab record` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The recording's name.
    pub name: String,
    /// `FILE:LINE` of the block.
    pub place: String,
    /// The command, without `cargo lab`.
    pub command: String,
    /// How often it is run.
    pub times: u64,
    /// The seed of the first run.
    pub seed: u64,
}

impl Page {
    /// The commands that a page has recorded.
    ///
    /// # Errors
    ///
    /// A block is not one, with its place.
    pub fn orders(&self) -> anyhow::Result<Vec<Order>> {
        let mut orders: Vec<Order> = Vec::new();
        let blocks = blocks(&self.text)
            .map_err(|(line, err)| err.context(self.place(line)))?;
        for block in blocks {
            let line = line_of(&self.text, block.range.start);
            let place = self.place(line);
            let order = order(&block, &place).context(place)?;
            if let Some(order) = order {
                let twice = orders.iter().any(|o| o.name == order.name);
                ensure!(!twice, "{}: {} twice", order.place, order.name);
                orders.push(order);
            }
        }
        Ok(orders)
    }
}

/// The order of a `console NAME` block.
pub fn order(block: &Block, place: &str) -> anyhow::Result<Option<Order>> {
    let [kind, name, settings @ ..] = block.words.as_slice() else {
        return Ok(None);
    };
    if kind != "console" {
        return Ok(None);
    }
    let settings = Settings(settings);
    settings.only(&["hidden", "times=", "seed="])?;
    let number = |key: &str| {
        let number = settings.get(key).map(str::parse::<u64>).transpose();
        number.with_context(|| format!("{key}= is a number"))
    };
    let commands = commands(&block.body)?;
    let [command] = commands.as_slice() else {
        bail!("`{name}` records one command")
    };
    let command = command
        .strip_prefix("cargo lab ")
        .context("only `cargo lab` is recorded")?;
    Ok(Some(Order {
        name: name.clone(),
        place: place.to_string(),
        command: command.to_string(),
        times: number("times")?.unwrap_or(1),
        seed: number("seed")?.unwrap_or(1),
    }))
}

/// The commands of a console block: each after `$ `; a line may be continued.
pub fn commands(body: &str) -> anyhow::Result<Vec<String>> {
    let joined = body.replace(" \\\n", " ");
    let commands = joined.lines().map(|line| {
        let command = line.strip_prefix("$ ").with_context(|| {
            format!("`{line}` is no command: what it prints is recorded")
        })?;
        let command = command.split("  # ").next().unwrap_or_default();
        Ok(command.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    commands.collect()
}

//! What the page about two machines says of them: which labs run there, and what
//! the slow check saw.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use graders::catalogue;

/// What `vagrant/check-up --record` wrote, relative to the checkout.
const SEEN: &str = "book/recordings/two_machines.txt";

/// The labs that run on two machines, and for each thing that such hosts have not
/// got, the labs that need it.
///
/// # Errors
///
/// The catalogue is not one.
pub fn labs() -> anyhow::Result<String> {
    let all = catalogue::all()?;
    let (can, cannot): (Vec<_>, Vec<_>) =
        all.iter().partition(|lab| lab.machines_lack.is_empty());
    let named: Vec<String> = can
        .iter()
        .map(|lab| {
            let chapter = lab.chapter.replace('_', "-");
            format!("[{}]({chapter}/{}.md)", lab.id, lab.id)
        })
        .collect();
    let (last, others) = named.split_last().context("no lab runs there")?;
    let mut text = format!(
        "{} of the {} labs run across the machines: {} and {last}. The others \
         take something that hosts on other machines have not got:\n\n\
         | needs | labs |\n|---|---|\n",
        can.len(),
        all.len(),
        others.join(", ")
    );
    let needs = cannot.iter().flat_map(|lab| &lab.machines_lack);
    for need in needs.collect::<BTreeSet<_>>() {
        let labs = cannot.iter().filter(|lab| lab.machines_lack.contains(need));
        let labs: Vec<&str> = labs.map(|lab| lab.id.as_str()).collect();
        text.push_str(&format!("| {need} | {} |\n", labs.join(", ")));
    }
    text.push('\n');
    Ok(text)
}

/// With what the slow check was run, what it saw, and how long that took.
///
/// # Errors
///
/// It has not been recorded, or is not what the check writes.
pub fn seen(root: &Path) -> anyhow::Result<String> {
    let path = root.join(SEEN);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("read {SEEN}: `vagrant/check-up --record`"))?;
    let (tools, steps) = text
        .split_once("\n\n")
        .with_context(|| format!("{SEEN}: no empty line after the tools"))?;
    let tools: Vec<&str> = tools.lines().collect();
    let mut table = format!(
        "It was run with {}.\n\n| seen | took |\n|---|---|\n",
        tools.join(", ")
    );
    for step in steps.lines() {
        let (words, took) = step
            .rsplit_once("  ")
            .with_context(|| format!("{SEEN}: `{step}` has no time"))?;
        let took = took.trim();
        ensure!(took.ends_with(" s"), "{SEEN}: `{took}` is no time");
        table.push_str(&format!("| {} | {took} |\n", words.trim()));
    }
    table.push('\n');
    Ok(table)
}

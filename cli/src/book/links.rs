//! Links of the built book that lead nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;

use super::build::html;

/// Follows every relative link of every page, to its file and its anchor, and
/// returns those that lead nowhere: `PAGE: LINK` each.
///
/// # Errors
///
/// A page cannot be read.
pub fn broken(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut anchors: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut links: Vec<(PathBuf, String)> = Vec::new();
    for file in html(folder)? {
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{}", file.display()))?;
        let name = file.strip_prefix(folder).unwrap_or(&file).to_path_buf();
        anchors.insert(name.clone(), values(&text, " id=\"").collect());
        // The page of all pages repeats their links as seen from below.
        if name == Path::new("print.html") {
            continue;
        }
        let found = values(&text, " href=\"").chain(values(&text, " src=\""));
        links.extend(found.map(|link| (name.clone(), link)));
    }
    let mut broken = BTreeSet::new();
    for (file, link) in &links {
        if link.contains(':') || link.starts_with("//") {
            continue;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => file.clone(),
            path => resolve(file, path),
        };
        let there = match anchors.get(&target) {
            Some(ids) => anchor.is_empty() || ids.contains(anchor),
            None => folder.join(&target).is_file(),
        };
        if !there {
            let file = file.display();
            broken.insert(format!("{file}: {link} leads nowhere"));
        }
    }
    Ok(broken.into_iter().collect())
}

/// The values of an attribute, as `name="`.
fn values(text: &str, name: &str) -> impl Iterator<Item = String> {
    text.split(name).skip(1).filter_map(|rest| {
        let value = rest.split('"').next()?;
        Some(value.replace("&amp;", "&"))
    })
}

fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut path = from.parent().unwrap_or(Path::new("")).to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    if link.ends_with('/') {
        path.push("index.html");
    }
    path
}

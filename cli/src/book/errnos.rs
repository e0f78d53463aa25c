//! What a call can say, as a table: each errno with what a recorded run gave
//! the call, the cause and the cure.

use std::path::Path;

use anyhow::{Context, ensure};
use graders::errnos::test::Finding;
use graders::errnos::{self, Row};

use super::claims::page_of;
use super::page::escape;
use super::recording::Recording;

/// The table of these calls on a page, of all calls for none; and each row's call and errno,
/// which every run must confirm.
///
/// # Errors
///
/// A name that is no call, or a row that was recorded with other words.
pub fn table(
    recording: &Recording,
    calls: &[&str],
    page: &Path,
) -> anyhow::Result<(String, Vec<(String, String)>)> {
    let known = errnos::calls();
    for call in calls {
        ensure!(
            known.contains(call),
            "`{call}` is no call of tests/errnos.toml: {}",
            known.join(", ")
        );
    }
    let names: Vec<String> = calls.iter().map(ToString::to_string).collect();
    let several = calls.len() != 1;
    let mut text = String::from(
        "<table class=\"errnos\"><thead><tr><th scope=\"col\">errno</th>\
         <th scope=\"col\">what has happened</th>\
         <th scope=\"col\">what to do</th></tr></thead><tbody>\n",
    );
    let above = page.components().count().saturating_sub(1);
    let root = "../".repeat(above);
    let mut kept = Vec::new();
    for row in errnos::find(&names)? {
        let found = recorded(recording, row)?;
        text.push_str(&line(row, found, several, &root));
        kept.push((row.name(), found.got.clone()));
    }
    text.push_str("</tbody></table>\n\n");
    text.push_str(&format!("This was {}.\n\n", recording.stamp));
    Ok((text, kept))
}

/// What the recording says of a row.
fn recorded<'a>(
    recording: &'a Recording,
    row: &Row,
) -> anyhow::Result<&'a Finding> {
    let name = row.name();
    let mut all = recording.errnos.iter();
    let found = all.find(|f| f.call == row.call && f.errno == row.errno);
    let cure = "`cargo lab record errnos` makes it anew";
    let found = found
        .with_context(|| format!("{name} is not in the recording; {cure}"))?;
    let same = found.cause == row.cause
        && found.cure == row.cure
        && found.source == row.source
        && found.lab == row.lab;
    ensure!(same, "{name} was recorded with other words; {cure}");
    ensure!(found.confirmed, "{name} was recorded as {}; {cure}", found.got);
    Ok(found)
}

/// The anchor of a row: `connect-etimedout`.
fn anchor(row: &Row) -> String {
    format!("{}-{}", row.call, row.errno.to_lowercase())
}

/// A row: the errno and what the call was given for it, the cause, the cure.
fn line(row: &Row, found: &Finding, several: bool, root: &str) -> String {
    let call = match several {
        true => format!("<code>{}</code> ", row.call),
        false => String::new(),
    };
    let mut see = escape(&row.source);
    match row.lab.as_deref().map(|name| (name, page_of(name))) {
        None => {}
        Some((name, None)) => see.push_str(&format!("; lab {name}")),
        Some((name, Some(page))) => {
            let link = format!("; <a href=\"{root}{page}\">{name}</a>");
            see.push_str(&link);
        }
    }
    format!(
        "<tr id=\"{}\"><th scope=\"row\">{call}<code>{}</code></th>\
         <td>{} <small>Given: {}.</small></td>\
         <td>{} <small>{see}</small></td></tr>\n",
        anchor(row),
        row.errno,
        cell(&row.cause),
        cell(&found.given),
        cell(&row.cure),
    )
}

/// A sentence as HTML: what is in back-quotes is code.
fn cell(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        match at % 2 {
            0 => html.push_str(&part),
            _ => html.push_str(&format!("<code>{part}</code>")),
        }
    }
    html
}

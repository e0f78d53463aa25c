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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::recording::Stamp;

    /// A recording of all rows as the table has them, each seen.
    fn recording() -> Recording {
        let finding = |row: &Row| Finding {
            call: row.call.clone(),
            errno: row.errno.clone(),
            given: "`1 < 2`".to_string(),
            got: row.errno.clone(),
            confirmed: true,
            after: 0,
            cause: row.cause.clone(),
            cure: row.cure.clone(),
            source: row.source.clone(),
            lab: row.lab.clone(),
            millis: 0,
        };
        let rows = errnos::all().unwrap_or_default().iter();
        let [kernel, date, lab, rustc] = ["6.18", "2026-11-21", "0", "1"];
        Recording {
            command: "errno".to_string(),
            stamp: Stamp {
                kernel: kernel.to_string(),
                date: date.to_string(),
                lab: lab.to_string(),
                rustc: rustc.to_string(),
            },
            runs: Vec::new(),
            refusal: None,
            findings: Vec::new(),
            errnos: rows.map(finding).collect(),
            sum: String::new(),
        }
    }

    #[test]
    fn a_table_has_its_rows_and_promises_each() {
        let page = Path::new("ch05-sockets/errors.md");
        let (text, kept) = table(&recording(), &["listen"], page).unwrap();
        assert!(text.contains("<tr id=\"listen-eaddrinuse\">"), "{text}");
        assert!(text.contains("<code>1 &lt; 2</code>"), "{text}");
        assert_eq!(kept.len(), 5);
        let first = ("listen EADDRINUSE".into(), "EADDRINUSE".into());
        assert_eq!(kept[0], first);
        let (text, kept) = table(&recording(), &[], page).unwrap();
        assert!(text.contains("<a href=\"../ch05-sockets/accept.md\">"));
        assert_eq!(kept.len(), errnos::all().unwrap().len());
    }

    #[test]
    fn a_row_that_was_recorded_otherwise_is_refused() {
        let page = Path::new("errors.md");
        let refused = |change: fn(&mut Vec<Finding>), why: &str| {
            let mut recording = recording();
            change(&mut recording.errnos);
            let said = table(&recording, &["socket"], page).unwrap_err();
            assert!(said.to_string().contains(why), "{said}");
        };
        refused(|rows| rows[0].cause.push('!'), "with other words");
        refused(|rows| rows[0].lab = None, "with other words");
        refused(|rows| rows[1].confirmed = false, "was recorded as");
        refused(|rows| drop(rows.remove(2)), "is not in the recording");
    }
}

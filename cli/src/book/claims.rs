//! A chapter of the page "Then and now": each claim, its verdict, and what a
//! recorded run saw.

use anyhow::{Context, ensure};
use graders::catalogue;
use graders::claims::test::Finding;
use graders::claims::{self, Claim, Word};

use super::recording::Recording;

/// What does not hold, claim by claim, then what does; and each claim's verdict,
/// which every run must confirm.
pub fn chapter(
    recording: &Recording,
    chapter: &str,
) -> anyhow::Result<(String, Vec<(String, String)>)> {
    let claims = claims::find(&[chapter.to_string()])?;
    let mut rows = Vec::new();
    for claim in claims {
        let found = recording.findings.iter().find(|f| f.id == claim.id);
        let found = found.with_context(|| {
            format!("claim {} is not in the recording", claim.id)
        })?;
        ensure!(
            found.says == claim.says && found.verdict == claim.verdict,
            "claim {} was recorded with other words; `cargo lab record \
             claims` makes it anew",
            claim.id
        );
        rows.push((claim, found));
    }
    let holds = |word| word == Word::Holds;
    let (good, other): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| holds(row.0.verdict));
    let mut text = String::new();
    for (claim, found) in other {
        text.push_str(&entry(claim, found));
    }
    text.push_str(&format!(
        "<details><summary>{} claims of this chapter hold</summary>\n\n",
        good.len()
    ));
    for (claim, found) in good {
        text.push_str(&entry(claim, found));
    }
    text.push_str(&format!("</details>\n\nThis was {}.\n\n", recording.stamp));
    let kept = rows.iter().map(|(claim, found)| {
        let seen = match found.confirmed {
            Some(_) => "seen",
            None => "by its source",
        };
        (claim.id.clone(), format!("{}, {seen}", claim.verdict.name()))
    });
    Ok((text, kept.collect()))
}

/// `**The claim.** *Never.* What is right. Seen: ... Fails when ... (source)`
fn entry(claim: &Claim, found: &Finding) -> String {
    let mut text = format!(
        "<a id=\"claim-{}\"></a>**{}** *{}.*",
        claim.id,
        plain(&claim.says),
        capital(claim.verdict.name()),
    );
    if let Some(right) = &claim.right {
        text.push_str(&format!(" {}", plain(right)));
    }
    if found.confirmed.is_some() {
        text.push_str(&format!(" Seen: {}.", plain(&found.evidence)));
    }
    if let Some(breaks) = &found.breaks {
        text.push_str(&format!(" Not so when {}.", plain(breaks)));
    }
    text.push_str(&references(claim));
    text.push_str("\n\n");
    text
}

/// The source and the lab, in parentheses.
fn references(claim: &Claim) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(claim.source.as_deref().map(linked));
    parts.extend(claim.lab.as_deref().map(lab));
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join("; ")),
    }
}

/// A lab that there is by its page, else by its name.
fn lab(name: &str) -> String {
    match page_of(name) {
        Some(page) => format!("[{name}]({page})"),
        None => format!("lab {name}"),
    }
}

/// A lab's page below the book's root, if the lab is there.
pub(super) fn page_of(name: &str) -> Option<String> {
    let labs = catalogue::find(&[name.to_string()]).ok()?;
    let page = labs.first()?.page();
    let page = page.strip_prefix("book/src").unwrap_or(&page);
    Some(page.display().to_string())
}

/// A source with a link where it names a commit of the kernel's.
fn linked(source: &str) -> String {
    let words = source.split(' ').map(|word| {
        let hash = word.trim_end_matches([',', ';', ')', '.']);
        let rest = &word[hash.len()..];
        let is_hash =
            hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit());
        match is_hash {
            true => {
                format!("[{hash}](https://git.kernel.org/linus/{hash}){rest}")
            }
            false => plain(word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Text that Markdown is to leave alone, but for code in back-quotes.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut code = false;
    for c in text.chars() {
        code ^= c == '`';
        if !code && matches!(c, '*' | '_' | '[' | ']' | '<' | '>' | '\\') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

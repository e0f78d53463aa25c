//! The card at the head of a lab's page: what it is, and the commands.

use std::fs;
use std::path::Path;

use anyhow::Context;
use graders::catalogue::Lab;

use super::page::{escape, inline};

/// The card of a lab; `root` is the checkout.
///
/// # Errors
///
/// The lab's stub cannot be read.
pub fn card(root: &Path, lab: &Lab) -> anyhow::Result<String> {
    let Lab { id, minutes, .. } = lab;
    let source = lab.source().display().to_string();
    let task = inline(&task(root, lab)?);
    let needs = match lab.needs.as_slice() {
        [] => "nothing but the two hosts".to_string(),
        needs => {
            let needs: Vec<_> = needs.iter().map(|n| n.meaning()).collect();
            needs.join("; ")
        }
    };
    let rows = [
        ("you write", format!("<code>{}</code>", escape(&source))),
        ("run it", format!("<code>cargo lab run {id}</code>")),
        ("grade it", format!("<code>cargo lab check {id}</code>")),
        ("it takes", format!("about {minutes} minutes")),
        ("it needs", escape(&needs)),
    ];
    let mut html = format!(
        "<section class=\"card\" aria-label=\"The lab {id}\">\n\
         <p><strong>{id}</strong> {task}</p>\n<dl>\n"
    );
    for (name, value) in rows {
        html.push_str(&format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    html.push_str("</dl>\n</section>\n");
    Ok(html)
}

/// The first sentence of the stub: what there is to be done.
fn task(root: &Path, lab: &Lab) -> anyhow::Result<String> {
    let file = Path::new("tests/pristine").join(&lab.chapter).join(&lab.id);
    let file = root.join(file).with_extension("rs");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{}", file.display()))?;
    let head = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = head.take_while(|line| !line.trim().is_empty());
    Ok(lines.map(str::trim).collect::<Vec<_>>().join(" "))
}

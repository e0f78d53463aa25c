//! Figures, drawn as SVG from recorded runs.
//!
//! A figure has no colours and no fonts of its own: it names classes, and the
//! theme's style sheet says how they look in each of mdBook's five themes.

pub mod header;
pub mod machine;
pub mod sequence;
mod svg;

/// A figure with its caption and, folded away, the same as a table. The
/// caption is Markdown: the empty lines around it are needed. A table with many
/// hosts is wider than the page and scrolls, so the keyboard must come to it.
pub fn frame(
    id: &str,
    drawn: &str,
    caption: &str,
    stamp: &str,
    table: &str,
) -> String {
    let caption = match caption.trim() {
        "" => format!("*{stamp}*"),
        caption => format!("{caption} *({stamp})*"),
    };
    format!(
        "<figure class=\"lab\" id=\"{id}\">\n{drawn}<figcaption>\n\n\
         {caption}\n\n<details>\n<summary>The same as a table</summary>\n\
         <div class=\"table-wrapper\" role=\"group\" tabindex=\"0\" \
         aria-label=\"The same as a table\">\n{table}</div>\n</details>\n\
         </figcaption>\n</figure>\n"
    )
}

//! A page's Markdown: its fenced blocks, and what is between them.

use std::ops::Range;

use anyhow::ensure;
use mdbook_markdown::pulldown_cmark::{
    CodeBlockKind, Event, Options, Parser, Tag, TagEnd, html,
};

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// Where it is in the page, fences and all.
    pub range: Range<usize>,
    /// The words after the opening fence; quotes hold one together.
    pub words: Vec<String>,
    /// What stands between the fences.
    pub body: String,
}

/// Every code block of a page; one that has no fence has no words.
///
/// # Errors
///
/// A quote after a fence is open, or a block stands inside a list or a quote.
pub fn blocks(text: &str) -> Result<Vec<Block>, (usize, anyhow::Error)> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (event, range) in
        Parser::new_ext(text, Options::all()).into_offset_iter()
    {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let line = line_of(text, range.start);
                let words = match &kind {
                    CodeBlockKind::Fenced(info) => {
                        words(text, info, range.start)
                            .map_err(|err| (line, err))?
                    }
                    CodeBlockKind::Indented => Vec::new(),
                };
                blocks.push(Block { range, words, body: String::new() });
                open = true;
            }
            Event::End(TagEnd::CodeBlock) => open = false,
            Event::Text(part) if open => {
                if let Some(block) = blocks.last_mut() {
                    block.body.push_str(&part);
                }
            }
            _ => {}
        }
    }
    Ok(blocks)
}

fn words(text: &str, info: &str, start: usize) -> anyhow::Result<Vec<String>> {
    let alone = start == 0 || text[..start].ends_with('\n');
    ensure!(alone, "a block stands at the margin, in no list and no quote");
    split(info)
}

/// The words of a line: quotes, single or double, hold one together.
///
/// # Errors
///
/// A quote is open.
pub fn split(line: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    ensure!(quote.is_none(), "`{line}`: a quote is open");
    words.extend(word);
    Ok(words)
}

/// The line of a place in a text, counted from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// One paragraph of Markdown as what may stand inside a line of HTML.
pub fn inline(markdown: &str) -> String {
    let mut text = String::new();
    html::push_html(&mut text, Parser::new_ext(markdown, Options::all()));
    let text = text.trim();
    let bare = text.strip_prefix("<p>").and_then(|t| t.strip_suffix("</p>"));
    bare.unwrap_or(text).to_string()
}

/// Is this one paragraph, and not a list, a heading or a quote?
pub fn is_inline(markdown: &str) -> bool {
    let mut blocks = Parser::new_ext(markdown, Options::all());
    blocks.next() == Some(Event::Start(Tag::Paragraph))
        && blocks.last() == Some(Event::End(TagEnd::Paragraph))
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// `from='a b' fold=arp` after a block's name: looked up by the part before
/// the `=`; words without one are set or not.
pub struct Settings<'a>(pub &'a [String]);

impl<'a> Settings<'a> {
    /// The value of `key=value`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let mut all = self.all(key);
        all.next()
    }

    /// Every value of a key that may be given several times.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Is the word there?
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|has| has == word)
    }

    /// Refuses what nobody asks for.
    ///
    /// # Errors
    ///
    /// A word that is not among these: `key=` stands for any value.
    pub fn only(&self, known: &[&str]) -> anyhow::Result<()> {
        for word in self.0 {
            let key = match word.split_once('=') {
                Some((key, _)) => format!("{key}="),
                None => word.clone(),
            };
            ensure!(
                known.contains(&key.as_str()),
                "`{word}` is not known here; there are {}",
                known.join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_words_and_a_body() {
        let text = "# A\n\n```figure plain from='a b' x\nSay *it*.\n```\n";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 1);
        let block = &blocks[0];
        assert_eq!(block.words, ["figure", "plain", "from=a b", "x"]);
        assert_eq!(block.body, "Say *it*.\n");
        assert_eq!(line_of(text, block.range.start), 3);
        let settings = Settings(&block.words[2..]);
        assert_eq!(settings.get("from"), Some("a b"));
        assert!(settings.has("x") && !settings.has("y"));
        assert!(settings.only(&["from=", "y"]).is_err());
    }

    #[test]
    fn quotes_hold_a_word_together() {
        let words = split("a 'b \"c' #2 d=\"e f\" ''").unwrap();
        assert_eq!(words, ["a", "b \"c", "#2", "d=e f", ""]);
        assert!(split("it's").is_err());
    }

    #[test]
    fn a_block_in_a_list_is_refused_with_its_line() {
        let (line, err) =
            blocks("- a\n\n  ```console\n  $ b\n  ```\n").unwrap_err();
        assert_eq!(line, 3);
        assert!(err.to_string().contains("margin"), "{err}");
    }
}

//! Predictions: a question, options, and what a recorded run answers.
//!
//! ```text
//! How many segments will cross the wire?
//!
//! - Six: three to open, three to close.
//!   if plain: count tcp = 6
//!
//!   Not this time. The server waits before it closes.
//! - Seven: three to open, four to close.
//!   if plain: count tcp = 7
//!
//!   Yes.
//! ```
//!
//! Exactly one option's conditions hold, or the book is not built. An option
//! without a condition is wrong, and its reason says why. The last option,
//! `I don't know yet, show me`, stands under each question by itself.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::page::{escape, inline, is_inline};

/// A question with its options.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The question, in Markdown: one paragraph.
    pub question: String,
    /// The options, in the order of the page.
    pub options: Vec<Choice>,
}

/// One of the options.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What one would say, in Markdown: one line.
    pub says: String,
    /// `RECORDING: CONDITION`, all of which must hold.
    pub conditions: Vec<String>,
    /// Why, or why not, in Markdown.
    pub reason: String,
    /// Is it what happened?
    pub happened: bool,
}

impl Prediction {
    /// Reads a block's body, and asks `holds` what happened.
    ///
    /// # Errors
    ///
    /// It is no prediction, an option gives no reason, or not exactly one of
    /// them happened.
    pub fn parse(
        body: &str,
        mut holds: impl FnMut(&str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Prediction> {
        let at = body.find("\n- ").context("there are no options")?;
        let question = body[..at].trim().to_string();
        ensure!(!question.is_empty(), "there is no question");
        ensure!(!question.contains("\n\n"), "a question is one paragraph");
        let options = body[at + 1..].split("\n- ").map(Choice::parse);
        let mut options = options.collect::<anyhow::Result<Vec<_>>>()?;
        for option in &mut options {
            option.happened = !option.conditions.is_empty();
            for condition in &option.conditions {
                option.happened &= holds(condition)?;
            }
        }
        let happened = options.iter().filter(|option| option.happened);
        let happened: Vec<&str> =
            happened.map(|option| option.says.as_str()).collect();
        match happened.as_slice() {
            [_] => Ok(Prediction { question, options }),
            [] => bail!("the prediction is false: none of its options is so"),
            several => bail!(
                "the prediction is false: {} of its options are so: {}",
                several.len(),
                several.join(" / ")
            ),
        }
    }

    /// As HTML that needs no JavaScript. `name` is unique on its page.
    pub fn html(&self, name: &str) -> String {
        let question = inline(&self.question);
        let mut html = format!(
            "<form class=\"predict\">\n<fieldset class=\"predict\">\n\
             <legend><span class=\"kind\">Predict</span> {question}</legend>\n"
        );
        for option in &self.options {
            html.push_str(&option.html(name));
        }
        html.push_str(&format!(
            "<label><input type=\"radio\" name=\"{name}\">\n\
             <span>I don't know yet, show me.</span></label>\n\
             <button type=\"reset\">Close it again</button>\n\
             </fieldset>\n</form>\n"
        ));
        html
    }
}

impl Choice {
    fn parse(text: &str) -> anyhow::Result<Choice> {
        let text = text.strip_prefix("- ").unwrap_or(text);
        let (mut says, mut reason) = (String::new(), String::new());
        let mut conditions = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
            let line = line.trim();
            match line.strip_prefix("if ") {
                Some(condition) => conditions.push(condition.to_string()),
                None if !conditions.is_empty() => {
                    // A condition may be longer than a line.
                    if let Some(last) = conditions.last_mut() {
                        last.push(' ');
                        last.push_str(line);
                    }
                }
                None => {
                    says.push_str(line);
                    says.push(' ');
                }
            }
        }
        for line in lines {
            reason.push_str(line.strip_prefix("  ").unwrap_or(line));
            reason.push('\n');
        }
        let reason = reason.trim().to_string();
        let says = says.trim().to_string();
        ensure!(!says.is_empty(), "an option says nothing");
        ensure!(!reason.is_empty(), "the option `{says}` gives no reason");
        ensure!(
            is_inline(&says),
            "the option `{says}` begins like a list or a heading of Markdown"
        );
        Ok(Choice { says, conditions, reason, happened: false })
    }

    fn html(&self, name: &str) -> String {
        let says = inline(&self.says);
        let (class, mark) = match self.happened {
            true => ("happened", "✓ what happened"),
            false => ("not", "✗ not what happened"),
        };
        let reason = &self.reason;
        format!(
            "<label class=\"{class}\"><input type=\"radio\" name=\"{}\">\n\
             <span>{says} <strong class=\"mark\">{mark}</strong></span></label>\n\
             <div class=\"reason {class}\">\n\n{reason}\n\n</div>\n",
            escape(name)
        )
    }
}

/// Markdown of a page below, with its relative links as seen from the root.
pub fn from_the_root(markdown: &str, page: &Path) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    let mut text = String::new();
    let mut rest = markdown;
    while let Some(at) = rest.find("](") {
        text.push_str(&rest[..at + 2]);
        rest = &rest[at + 2..];
        let end = rest.find(')').unwrap_or(rest.len());
        let link = &rest[..end];
        if link.contains("://") || link.starts_with('#') {
            text.push_str(link);
        } else {
            let mut whole = folder.to_path_buf();
            for part in link.split('/') {
                match part {
                    ".." => drop(whole.pop()),
                    part => whole.push(part),
                }
            }
            text.push_str(&whole.display().to_string());
        }
        rest = &rest[end..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "How many?\n\n- *Two*.\n  if a: x = 2\n\n  No.\n\n  \
                        Really.\n- Three.\n  if a: x = 3\n  and y = 4\n\n  Yes.\n";

    #[test]
    fn exactly_one_option_is_so() {
        let three = |condition: &str| Ok(condition.starts_with("a: x = 3"));
        let prediction = Prediction::parse(BODY, three).unwrap();
        assert_eq!(prediction.question, "How many?");
        let [two, three] = prediction.options.as_slice() else { panic!() };
        assert_eq!((two.says.as_str(), two.happened), ("*Two*.", false));
        assert_eq!(two.reason, "No.\n\nReally.");
        assert_eq!(three.conditions, ["a: x = 3 and y = 4"]);
        assert!(three.happened);
        for (answer, said) in [(true, "2 of its options"), (false, "none")] {
            let err = Prediction::parse(BODY, |_| Ok(answer)).unwrap_err();
            assert!(err.to_string().contains(said), "{err}");
        }
    }

    #[test]
    fn an_option_has_a_reason() {
        let body = "Q?\n\n- A.\n  if x\n- B.\n\n  Because.\n";
        let err = Prediction::parse(body, |_| Ok(true)).unwrap_err();
        assert!(err.to_string().contains("`A.` gives no reason"), "{err}");
    }

    #[test]
    fn an_option_is_a_line() {
        let body = "Q?\n\n- 0. A number.\n  if x\n\n  Because.\n";
        let err = Prediction::parse(body, |_| Ok(true)).unwrap_err();
        assert!(err.to_string().contains("like a list"), "{err}");
    }
}

//! A small SVG writer: one element a line, never a blank line, since a blank
//! line would end the block of HTML inside Markdown.

use std::fmt::Write;

use super::super::page::escape;

/// A drawing under construction. Lengths are CSS pixels at full width.
pub struct Svg {
    body: String,
}

/// Where a text begins, ends or has its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its start.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

impl Svg {
    /// Nothing drawn yet.
    pub fn new() -> Svg {
        Svg { body: String::new() }
    }

    /// A line of text; `y` is its base line.
    pub fn text(
        &mut self,
        class: &str,
        anchor: Anchor,
        (x, y): (f64, f64),
        text: &str,
    ) {
        let (anchor, text) = (anchor.name(), escape(text));
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" \
             y=\"{y:.1}\">{text}</text>"
        );
    }

    /// The same along a slope, in degrees.
    pub fn sloped(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        degrees: f64,
        text: &str,
    ) {
        let text = escape(text);
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"middle\" \
             transform=\"translate({x:.1} {y:.1}) rotate({degrees:.2})\">\
             {text}</text>"
        );
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" \
             y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A rectangle with round corners.
    pub fn rect(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        round: f64,
    ) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{round}\"/>"
        );
    }

    /// An arrow with its head at `to`.
    pub fn arrow(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        const LONG: f64 = 9.0;
        const WIDE: f64 = 3.8;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        let base = (to.0 - ux * LONG, to.1 - uy * LONG);
        self.line(class, from, base);
        let _ = writeln!(
            self.body,
            "<path class=\"{class} head\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} \
             {:.1}Z\"/>",
            to.0,
            to.1,
            base.0 - uy * WIDE,
            base.1 + ux * WIDE,
            base.0 + uy * WIDE,
            base.1 - ux * WIDE,
        );
    }

    /// A cross: something ends here.
    pub fn cross(&mut self, class: &str, (x, y): (f64, f64)) {
        const ARM: f64 = 5.0;
        self.line(class, (x - ARM, y - ARM), (x + ARM, y + ARM));
        self.line(class, (x - ARM, y + ARM), (x + ARM, y - ARM));
    }

    /// Draws another drawing on top.
    pub fn append(&mut self, other: Svg) {
        self.body.push_str(&other.body);
    }

    /// The finished picture. `id` is unique on its page; `title` and `about`
    /// are what a screen reader says in its place.
    pub fn finish(
        self,
        class: &str,
        id: &str,
        (title, about): (&str, &str),
        (width, height): (f64, f64),
    ) -> String {
        let (title, about) = (escape(title), escape(about));
        format!(
            "<svg class=\"{class}\" role=\"img\" aria-labelledby=\"{id}-t \
             {id}-d\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <title id=\"{id}-t\">{title}</title>\n\
             <desc id=\"{id}-d\">{about}</desc>\n{}</svg>\n",
            self.body
        )
    }
}

/// Breaks a text into lines of at most this many characters, between words
/// where there is a place.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let fits = lines
            .last()
            .is_some_and(|line| line.chars().count() + 1 + word.len() <= width);
        if fits {
            if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.extend(word);
            }
            continue;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        lines.push(word.into_iter().collect());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words_and_through_long_ones() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn text_cannot_end_an_element() {
        let mut svg = Svg::new();
        svg.text("a", Anchor::Start, (0.0, 0.0), "</text><script>");
        let drawn = svg.finish("b", "c", ("<t>", "&"), (1.0, 1.0));
        assert!(!drawn.contains("<script") && !drawn.contains("<t>"));
    }
}

//! Mends the frame that mdBook puts around a page: what a screen reader or a
//! keyboard stumbles over, and what the HTML checker calls an error.
//!
//! Each change names the text that it replaces, and that text must be there
//! exactly once. So an mdBook that draws another frame fails the build, and is
//! looked at, instead of passing half mended. `book/gates` measures the result.

use std::ops::Range;

use anyhow::{Context, ensure};

/// The page with its frame mended. Contents (`toc.html`) and redirects have
/// frames of their own; HTML that is none of the three is an error.
pub fn repair(html: &str) -> anyhow::Result<String> {
    let mut frame = Frame { html: html.to_string() };
    match kind(html)? {
        Kind::Page => frame.mend_page(),
        Kind::Contents => frame.mend_contents(),
        Kind::Redirect => Ok(()),
    }
    .context("mdBook's frame is not the one that is mended here")?;
    Ok(frame.html)
}

/// mdBook's `highlight-*.js` without the languages that no page has: they are
/// four fifths of it, and every reader would load them.
pub fn slim_highlighter(script: &str) -> anyhow::Result<String> {
    let is_spared = |line: &&str| {
        line.split_once("hljs.registerLanguage(\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .is_some_and(|(name, _)| !LANGUAGES.contains(&name))
    };
    for name in LANGUAGES {
        let call = format!("hljs.registerLanguage(\"{name}\"");
        ensure!(script.contains(&call), "not found in highlight.js: {call}");
    }
    let kept: Vec<&str> =
        script.lines().filter(|line| !is_spared(line)).collect();
    Ok(kept.join("\n") + "\n")
}

/// What the pages' code is written in, and what these are built from:
/// `console` is `shell`, and that needs `bash`; `c` needs `c-like`.
const LANGUAGES: [&str; 8] =
    ["bash", "c", "c-like", "http", "ini", "plaintext", "rust", "shell"];

#[derive(Debug, PartialEq)]
enum Kind {
    /// What a reader reads; `print.html` and `404.html` have the same frame.
    Page,
    /// `toc.html`: the sidebar of a reader without JavaScript.
    Contents,
    /// A page that has moved. Its frame is right.
    Redirect,
}

fn kind(html: &str) -> anyhow::Result<Kind> {
    let marks = [
        (Kind::Page, "<div id=\"mdbook-menu-bar\""),
        (Kind::Contents, "<body class=\"sidebar-iframe-inner\">"),
        (Kind::Redirect, "<meta http-equiv=\"refresh\""),
    ];
    marks
        .into_iter()
        .find(|(_, mark)| html.contains(mark))
        .map(|(kind, _)| kind)
        .context("neither a page of mdBook, nor its contents, nor a redirect")
}

const SIDEBAR_LABEL: &str = "<label id=\"mdbook-sidebar-toggle\" \
    class=\"icon-button\" for=\"mdbook-sidebar-toggle-anchor\" \
    title=\"Toggle Table of Contents\" \
    aria-label=\"Toggle Table of Contents\" aria-controls=\"mdbook-sidebar\">";
const SIDEBAR_BUTTON: &str = "<button id=\"mdbook-sidebar-toggle\" \
    class=\"icon-button\" type=\"button\" \
    title=\"Toggle Table of Contents\" \
    aria-label=\"Toggle Table of Contents\" aria-controls=\"mdbook-sidebar\">";

/// The first script after the button; `sidebar` and `sidebar_toggle`, the
/// hidden checkbox, are from an earlier one.
const SIDEBAR_SCRIPT: &str = "document.getElementById('mdbook-sidebar-toggle')\
    .setAttribute('aria-expanded', sidebar === 'visible');";

/// Listens above the button: book.js has a listener on it that must run first.
const SIDEBAR_LISTENER: &str = "
                    document.querySelector('.left-buttons').addEventListener('click', function(event) {
                        if (event.target.closest('#mdbook-sidebar-toggle')) {
                            sidebar_toggle.click();
                        }
                    });";

const CONTENTS_FRAME: &str = "<iframe class=\"sidebar-iframe-outer\" ";
const PART: &str = "<li class=\"chapter-item \">\
    <li class=\"part-title\">";

/// Folds a chapter by JavaScript, which the contents do without.
const FOLD: &str = "<a class=\"chapter-fold-toggle\"><div>❱</div></a>";

const CODE_BLOCK: &str = "<pre><code";

/// So much code fits the column at each size of letters that the book uses.
const COLUMNS: usize = 80;

struct Frame {
    html: String,
}

impl Frame {
    fn mend_page(&mut self) -> anyhow::Result<()> {
        self.sidebar_button()?;
        self.landmarks()?;
        self.search()?;
        self.help()?;
        self.wide_code();
        Ok(())
    }

    /// mdBook's button of the sidebar is the label of a checkbox that is not
    /// shown: no keyboard reaches it, and a label may not say what it controls.
    /// It becomes a button that clicks the checkbox. That needs JavaScript;
    /// without it, a link to the contents stands there.
    fn sidebar_button(&mut self) -> anyhow::Result<()> {
        let label = self.element(SIDEBAR_LABEL, "</label>")?;
        let icon = &self.html
            [label.start + SIDEBAR_LABEL.len()..label.end - "</label>".len()];
        let contents = self.contents()?;
        let button = format!(
            "{SIDEBAR_BUTTON}{icon}</button>\n\
             <noscript><a class=\"icon-button\" href=\"{contents}\" \
             title=\"Table of Contents\" aria-label=\"Table of Contents\">\
             {icon}</a></noscript>"
        );
        self.html.replace_range(label, &button);
        self.add(SIDEBAR_SCRIPT, SIDEBAR_LISTENER)?;
        self.swap(
            CONTENTS_FRAME,
            &format!("{CONTENTS_FRAME}title=\"Table of Contents\" "),
        )
    }

    /// Where `toc.html` is, seen from this page.
    fn contents(&self) -> anyhow::Result<String> {
        let start = format!("{CONTENTS_FRAME}src=\"");
        let frame = self.element(&start, "\">")?;
        let inner = frame.start + start.len()..frame.end - "\">".len();
        Ok(self.html[inner].to_string())
    }

    /// The bar belongs to the site: a banner, in which a screen reader finds
    /// the buttons. The book's name in it is no heading of this page.
    fn landmarks(&mut self) -> anyhow::Result<()> {
        self.add("<div id=\"mdbook-menu-bar\"", " role=\"banner\"")?;
        let title = self.element("<h1 class=\"menu-title\">", "</h1>")?;
        let name = self.html[title.clone()]
            .replace("<h1", "<div")
            .replace("</h1>", "</div>");
        self.html.replace_range(title, &name);
        Ok(())
    }

    /// The search has no place among the landmarks, its field no name, and its
    /// description is of an id that nothing has.
    fn search(&mut self) -> anyhow::Result<()> {
        self.add("<div id=\"mdbook-search-wrapper\"", " role=\"search\"")?;
        self.swap(
            "aria-describedby=\"searchresults-header\"",
            "aria-describedby=\"mdbook-searchresults-header\" \
             aria-label=\"Search this book\"",
        )
    }

    /// The help covers the page when it is shown: a dialog.
    fn help(&mut self) -> anyhow::Result<()> {
        self.add(
            "<div id=\"mdbook-help-popup\"",
            " role=\"dialog\" aria-label=\"Keyboard shortcuts\"",
        )
    }

    /// A block of code that is wider than its column scrolls. The keyboard has
    /// to come to it, and not every browser sees to that by itself.
    fn wide_code(&mut self) {
        let mut mended = String::new();
        let mut rest = self.html.as_str();
        while let Some(at) = rest.find(CODE_BLOCK) {
            let (before, block) = rest.split_at(at + CODE_BLOCK.len());
            let end = block.find("</code>").unwrap_or(block.len());
            let code =
                block[..end].split_once('>').map_or("", |(_, code)| code);
            let wide = code.lines().any(|line| width(line) > COLUMNS);
            mended.push_str(before);
            mended.push_str(if wide { " tabindex=\"0\"" } else { "" });
            rest = block;
        }
        mended.push_str(rest);
        self.html = mended;
    }

    /// The contents have no title, marks to fold chapters that nothing folds,
    /// and each part's name, a list item, in an empty list item.
    fn mend_contents(&mut self) -> anyhow::Result<()> {
        self.add("<meta charset=\"UTF-8\">", "<title>Contents</title>")?;
        let folds = self.html.matches("chapter-fold-toggle").count();
        ensure!(folds == self.html.matches(FOLD).count(), "not so: {FOLD}");
        self.html = self.html.replace(FOLD, "");
        let names = self.html.matches("class=\"part-title\"").count();
        let parts = self.html.matches(PART).count();
        ensure!(names == parts, "{parts} times, not {names}: {PART}");
        for _ in 0..parts {
            let part = self.element(PART, "</li></li>")?;
            let name = &self.html
                [part.start + PART.len()..part.end - "</li></li>".len()];
            let item = format!("<li class=\"part-title\">{name}</li>");
            self.html.replace_range(part, &item);
        }
        Ok(())
    }

    /// Replaces the only `old` by `new`.
    fn swap(&mut self, old: &str, new: &str) -> anyhow::Result<()> {
        let place = self.only(old)?;
        self.html.replace_range(place, new);
        Ok(())
    }

    /// Puts `more` after the only `old`.
    fn add(&mut self, old: &str, more: &str) -> anyhow::Result<()> {
        let place = self.only(old)?;
        self.html.insert_str(place.end, more);
        Ok(())
    }

    fn only(&self, text: &str) -> anyhow::Result<Range<usize>> {
        let found = self.html.matches(text).count();
        ensure!(found == 1, "found {found} times, not once: {text}");
        self.element(text, "")
    }

    /// From the first `open` to the first `close` behind it, both included.
    fn element(&self, open: &str, close: &str) -> anyhow::Result<Range<usize>> {
        let start = self.html.find(open);
        let start = start.with_context(|| format!("not found: {open}"))?;
        let inner = start + open.len();
        let length = self.html[inner..].find(close);
        let length = length
            .with_context(|| format!("not found: {close} after {open}"))?;
        Ok(start..inner + length + close.len())
    }
}

/// How wide a line of code is: a tag has no width, an entity is one letter.
fn width(line: &str) -> usize {
    let (mut width, mut until) = (0, None);
    for letter in line.chars() {
        match (until, letter) {
            (None, '<') => until = Some('>'),
            (None, '&') => until = Some(';'),
            (None, _) => width += 1,
            (Some(end), _) if end == letter => {
                until = None;
                width += usize::from(end == ';');
            }
            (Some(_), _) => {}
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those parts of mdBook's frame that are mended, as it writes them.
    fn page() -> String {
        format!(
            "<body>\n<div id=\"mdbook-help-popup\"></div>\n\
             {CONTENTS_FRAME}src=\"../toc.html\"></iframe>\n\
             <div id=\"mdbook-menu-bar\" class=\"menu-bar sticky\">\n\
             <div class=\"left-buttons\">{SIDEBAR_LABEL}=</label></div>\n\
             <h1 class=\"menu-title\">serverlab</h1></div>\n\
             <div id=\"mdbook-search-wrapper\" class=\"hidden\">\n\
             <input aria-describedby=\"searchresults-header\"></div>\n\
             <script>{SIDEBAR_SCRIPT}</script>\n\
             <main><h1>Text</h1><label>An option</label></main></body>\n"
        )
    }

    #[test]
    fn the_button_of_the_sidebar_is_a_button() {
        let html = repair(&page()).unwrap();
        assert!(html.contains(&format!("{SIDEBAR_BUTTON}=</button>")));
        assert!(html.contains("sidebar_toggle.click()"));
        assert!(!html.contains("mdbook-sidebar-toggle-anchor"));
    }

    #[test]
    fn without_javascript_a_link_leads_to_the_contents() {
        let html = repair(&page()).unwrap();
        let link = "<noscript><a class=\"icon-button\" href=\"../toc.html\"";
        assert!(html.contains(link));
        assert!(html.contains("title=\"Table of Contents\" src=\"../toc.html"));
    }

    #[test]
    fn the_text_of_the_page_stays_as_it_is() {
        let html = repair(&page()).unwrap();
        let main = "<main><h1>Text</h1><label>An option</label></main>";
        assert!(html.contains(main));
        assert!(html.contains("<div class=\"menu-title\">serverlab</div>"));
    }

    #[test]
    fn the_keyboard_comes_to_code_that_scrolls() {
        let fits = format!("&lt;<b class=\"a\">{}</b>", "─".repeat(79));
        let block = |code: &str| {
            format!(
                "<pre><code class=\"language-text\">a\n{code}\n</code></pre>"
            )
        };
        let wide = format!("{fits}─");
        let page = page() + &block(&fits) + &block(&wide);
        let html = repair(&page).unwrap();
        assert!(html.contains(&block(&fits)));
        let reached = block(&wide).replace("<code", "<code tabindex=\"0\"");
        assert!(html.contains(&reached));
    }

    #[test]
    fn what_is_not_found_is_named() {
        let parts = [
            SIDEBAR_LABEL,
            SIDEBAR_SCRIPT,
            CONTENTS_FRAME,
            "<h1 class=\"menu-title\">",
            "<div id=\"mdbook-search-wrapper\"",
            "aria-describedby=\"searchresults-header\"",
            "<div id=\"mdbook-help-popup\"",
        ];
        for part in parts {
            let other = page().replace(part, "<b>");
            let error = format!("{:#}", repair(&other).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_found_twice_is_named() {
        let twice = page() + "<div id=\"mdbook-search-wrapper\">";
        let error = format!("{:#}", repair(&twice).unwrap_err());
        assert!(error.contains("found 2 times"), "{error}");
    }

    #[test]
    fn a_page_is_mended_once() {
        let mended = repair(&page()).unwrap();
        let error = format!("{:#}", repair(&mended).unwrap_err());
        assert!(error.contains("not found: <label"), "{error}");
    }

    #[test]
    fn contents_get_a_title_and_plain_parts() {
        let contents = format!(
            "<meta charset=\"UTF-8\">\n<body class=\"sidebar-iframe-inner\">\
             <ol class=\"chapter\">{PART}TCP/IP</li></li>{PART}Two</li></li></ol>"
        );
        assert_eq!(
            repair(&contents).unwrap(),
            "<meta charset=\"UTF-8\"><title>Contents</title>\n\
             <body class=\"sidebar-iframe-inner\"><ol class=\"chapter\">\
             <li class=\"part-title\">TCP/IP</li>\
             <li class=\"part-title\">Two</li></ol>"
        );
    }

    #[test]
    fn contents_with_other_parts_are_named() {
        let contents = "<meta charset=\"UTF-8\">\
             <body class=\"sidebar-iframe-inner\"><li class=\"part-title\">";
        let error = format!("{:#}", repair(contents).unwrap_err());
        assert!(error.contains(PART), "{error}");
    }

    #[test]
    fn a_redirect_stays_as_it_is() {
        let redirect =
            "<meta http-equiv=\"refresh\" content=\"0; URL=a.html\">";
        assert_eq!(repair(redirect).unwrap(), redirect);
    }

    #[test]
    fn other_html_is_refused() {
        let error = repair("<html><p>Hello</p></html>").unwrap_err();
        assert!(error.to_string().contains("neither a page"), "{error}");
    }

    #[test]
    fn the_highlighter_keeps_the_languages_of_the_pages() {
        let mut script = "var hljs=function(){}();\n".to_string();
        for name in LANGUAGES.into_iter().chain(["coffeescript"]) {
            script += &format!("hljs.registerLanguage(\"{name}\",f);\n");
        }
        let slim = slim_highlighter(&script).unwrap();
        let last = "hljs.registerLanguage(\"coffeescript\",f);\n";
        assert_eq!(slim, script.replace(last, ""));

        let error = slim_highlighter("var hljs=function(){}();").unwrap_err();
        assert!(error.to_string().contains("\"bash\""), "{error}");
    }
}

//! The book is built from recorded runs, and not from anything else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Said, command, lab, root};

/// A book of one page in a folder of its own, with the recordings of handshake
/// and all that pages quote.
struct OnePage {
    folder: tempfile::TempDir,
}

impl OnePage {
    /// The page is the lab's own with another text below its title.
    fn new(text: &str) -> OnePage {
        let folder = tempfile::tempdir().unwrap();
        let src = folder.path().join("book/src/ch03-tcp");
        fs::create_dir_all(&src).unwrap();
        for quoted in ["solutions", "tests", "labs"] {
            let there = folder.path().join(quoted);
            symlink(root().join(quoted), there).unwrap();
        }
        let recordings = folder.path().join("book/recordings/ch03_tcp");
        fs::create_dir_all(&recordings).unwrap();
        let book = OnePage { folder };
        copy(
            &root().join("book/recordings/ch03_tcp/handshake"),
            &recordings.join("handshake"),
        );
        book.write("book.toml", "[book]\ntitle = \"One page\"\n");
        let summary = "# Summary\n\n- [Page](ch03-tcp/handshake.md)\n";
        book.write("src/SUMMARY.md", summary);
        book.write("src/ch03-tcp/handshake.md", text);
        book
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("book").join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn recording(&self, name: &str) -> PathBuf {
        let folder = self.path("recordings/ch03_tcp/handshake");
        folder.join(name).with_extension("json")
    }

    /// Leaves only what the page has to name.
    fn keep(self, names: &[&str]) -> OnePage {
        let folder = self.path("recordings/ch03_tcp/handshake");
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap().to_string();
            if !names.contains(&name.as_str()) {
                fs::remove_file(file).unwrap();
            }
        }
        self
    }

    fn build(&self) -> Said {
        let (book, to) = (self.path(""), self.folder.path().join("built"));
        let (book, to) = (book.to_str().unwrap(), to.to_str().unwrap());
        lab(&["book", "build", "--book", book, "--to", to])
    }

    fn built(&self) -> String {
        let page = self.folder.path().join("built/ch03-tcp/handshake.html");
        fs::read_to_string(page).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

const PREDICTION: &str = "```predict
How many?

- Seven.
  if plain: count tcp = 7

  So it is.
- Eight.
  if plain: count tcp = 8

  No.
```
";

#[test]
fn the_book_is_built_from_what_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    lab(&["book", "build", "--to", to]).exits(0);
    let page = folder.path().join("ch03-tcp/handshake.html");
    let page = fs::read_to_string(page).unwrap();
    for part in ["<svg", "role=\"img\"", "TIME-WAIT", "fieldset", "<table>"] {
        assert!(page.contains(part), "no {part}");
    }
    assert!(!page.contains("{{") && !page.contains("```"));
}

#[test]
fn a_recorded_fact_that_is_changed_fails_where_it_is_stated() {
    let text = format!(
        "# One\n\n{PREDICTION}\n\nThere are {{{{plain: count tcp as words}}}} \
         of them.\n"
    );
    let book = OnePage::new(&text).keep(&["plain"]);
    book.build().exits(0);
    assert!(book.built().contains("There are seven of them."));
    let file = book.recording("plain");
    let before = fs::read_to_string(&file).unwrap();
    // The last segment is a bare ACK; now it never arrived.
    let last = before.rfind("\"delivered_ns\":").unwrap();
    let end = last + before[last..].find(',').unwrap();
    let after =
        format!("{}\"delivered_ns\":null{}", &before[..last], &before[end..]);
    fs::write(&file, after).unwrap();
    book.build().exits(2).says(&[
        "book/src/ch03-tcp/handshake.md:3: ",
        "book/src/ch03-tcp/handshake.md:17: ",
        "was edited by hand",
    ]);
}

#[test]
fn a_run_that_went_otherwise_makes_its_prediction_false() {
    let text = format!("# One\n\n{PREDICTION}");
    let book = OnePage::new(&text).keep(&["plain", "two-syns"]);
    // A whole recording, of a run in which two segments were sent again.
    fs::rename(book.recording("two-syns"), book.recording("plain")).unwrap();
    book.build().exits(2).says(&[
        "handshake.md:3: the prediction is false: none of its options is so",
    ]);
}

#[test]
fn what_a_page_may_not_say_is_named_with_its_line() {
    let cases = [
        ("```text\nTyped by hand.\n```", "a block `text` is not among"),
        ("    typed by hand", "is not among"),
        ("```console\nno command\n```", "`no command` is no command"),
        ("```console plain\n$ ls\n```", "only `cargo lab` is recorded"),
        (
            "```console plain\n$ cargo lab run handshake -- x\n```",
            "was recorded from `run handshake`",
        ),
        ("```figure none\n```", "there is no recording `handshake/none`"),
        ("```figure nolab/x\n```", "there is no lab `nolab`"),
        ("```figure plain to=xyz\n```", "nothing in the run contains `xyz`"),
        ("```figure plain of=x\n```", "`of=x` is not known here"),
        ("```transcript plain of=x\n```", "the run has no program `x`"),
        ("```header plain udp syn\n```", "the frame has no udp header"),
        ("```code nowhere\n```", "handshake.rs has no anchor `nowhere`"),
        ("{{plain: count nonsense}}", "`nonsense` is not a kind of frame"),
        ("{{plain: gap syn to synack}}", "is a time, which differs"),
        ("{{plain: gap syn to synack in 5..6}}", "which is not in 5..6"),
        ("{{plain: count tcp", "`{{` has no end"),
        ("```errnos nocall\n```", "there is no recording `errnos`"),
        ("[away](nowhere.md)", "nowhere.html leads nowhere"),
    ];
    for (text, expected) in cases {
        let page = format!("# One\n\n{PREDICTION}\n{text}\n");
        let book = OnePage::new(&page).keep(&["plain"]);
        let said = book.build().exits(2).says(&[expected]).to_string();
        let line = 16;
        assert!(
            said.contains(&format!("handshake.md:{line}: "))
                || text.contains("away"),
            "{text}: {said}"
        );
    }
}

#[test]
fn a_table_of_errnos_is_what_was_recorded_of_the_rows_as_they_are() {
    let text = |calls: &str| {
        format!("# One\n\n{PREDICTION}\n```errnos {calls}\n```\n")
    };
    let recorded = root().join("book/recordings/errnos.json");
    let before = fs::read_to_string(recorded).unwrap();
    let book = OnePage::new(&text("socketpair")).keep(&["plain"]);
    let file = book.path("recordings/errnos.json");
    fs::write(&file, &before).unwrap();
    book.build().exits(0);
    let built = book.built();
    for part in [
        "id=\"socketpair-eopnotsupp\"",
        "<th scope=\"row\"><code>EOPNOTSUPP</code></th>",
        "Given: <code>AF_INET, SOCK_STREAM</code>.",
    ] {
        assert!(built.contains(part), "no {part}");
    }
    assert!(!built.contains("connect-etimedout"), "of socketpair alone");

    let after = before.replacen("EMFILE", "ENFILE", 1);
    fs::write(&file, after).unwrap();
    let line = "handshake.md:16: ";
    book.build().exits(2).says(&[line, "`errnos` was edited by hand"]);

    fs::write(&file, before).unwrap();
    book.write("src/ch03-tcp/handshake.md", &text("conect"));
    book.build().exits(2).says(&[line, "`conect` is no call"]);
}

#[test]
fn a_lab_asks_for_a_prediction_and_a_recording_for_a_page() {
    let book = OnePage::new("# One\n").keep(&["plain"]);
    book.build().exits(2).says(&[
        "book/src/ch03-tcp/handshake.md:1: a lab's page asks for a prediction",
        "plain.json: no page names it",
    ]);
}

#[test]
fn a_draft_is_built_and_shows_what_is_wrong() {
    let book = OnePage::new("# One\n\n```text\nx\n```\n").keep(&[]);
    let (from, to) = (book.path(""), book.folder.path().join("built"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    lab(&["book", "build", "--draft", "--book", from, "--to", to])
        .exits(1)
        .says(&["handshake.md:3: a block `text`"]);
    assert!(book.built().contains("is not among console"));
}

#[test]
fn a_stock_mdbook_can_have_the_pages_filled_in() {
    let text = format!("# One\n\n{PREDICTION}");
    let book = OnePage::new(&text).keep(&["plain"]);
    let chapter = serde_json::json!({ "Chapter": {
        "name": "One", "content": text, "number": null, "sub_items": [],
        "path": "ch03-tcp/handshake.md",
        "source_path": "ch03-tcp/handshake.md", "parent_names": [],
    }});
    let context = serde_json::json!({
        "root": book.path(""), "config": {}, "renderer": "html",
        "mdbook_version": "0.5.4",
    });
    let input = serde_json::json!([context, { "items": [chapter] }]);
    let mut mdbook = command(&["book", "preprocess"]);
    mdbook.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = mdbook.spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &input).unwrap();
    let said = Said::from(child.wait_with_output().unwrap()).exits(0);
    let content = said.json()["items"][0]["Chapter"]["content"].to_string();
    assert!(content.contains("what happened"), "{content}");
    let supports =
        |renderer| lab(&["book", "preprocess", "supports", renderer]);
    supports("html").exits(0);
    supports("epub").exits(1);
}

//! The book beside the work: read, watched, written.

use std::fs;

use crate::support::checkout::Checkout;
use crate::support::http::{address, get};
use crate::support::process::Running;
use crate::support::terminal::Terminal;

#[test]
fn on_a_terminal_the_course_opens_with_board_book_and_watch() {
    let copy = Checkout::fresh();
    let mut course = Terminal::start(copy.command(&[]));
    let screen = course.wait_for("q quit");
    for part in ["Chapter 3: tcp", "labs passed", "watching labs/", "Next: "] {
        assert!(screen.contains(part), "no {part}: {screen}");
    }
    let line = screen.lines().find(|l| l.contains("Read the book")).unwrap();
    let page = get(&address(line), "/ch03-tcp/handshake.html");
    assert!(page.contains("Open and close a connection"), "{page}");
    course.type_keys("q\n");
    assert_eq!(course.end().0, Some(0));
}

#[test]
fn an_author_sees_each_save_and_what_is_wrong_with_it() {
    let copy = Checkout::fresh();
    let mut server =
        Running::start(copy.command(&["serve", "--port", "0", "--live"]));
    let address = address(&server.wait_line("the book  http"));
    let page = copy.root.join("book/src/introduction.md");
    let text = fs::read_to_string(&page).unwrap();
    let waiting = address.clone();
    let waits = std::thread::spawn(move || get(&waiting, "/live?1"));
    fs::write(&page, format!("{text}\nA new sentence.\n")).unwrap();
    assert!(waits.join().unwrap().ends_with("\r\n\r\n2"));
    let start = get(&address, "/introduction.html");
    assert!(start.contains("A new sentence.") && start.contains("/live?2"));
    fs::write(&page, format!("{text}\n```text\nx\n```\n")).unwrap();
    server.wait_line("a block `text` is not among");
    fs::write(&page, text).unwrap();
}

#[test]
fn a_promise_that_a_fresh_run_breaks_is_named() {
    let copy = Checkout::fresh();
    let check = ["record", "handshake", "--only", "plain", "--check"];
    copy.lab(&check).exits(0).says(&[" promises, 0 broken"]);
    let page = copy.root.join("book/src/ch03-tcp/handshake.md");
    let text = fs::read_to_string(&page).unwrap();
    let stated = format!("{text}\nIt says {{{{plain: line -1 client}}}}.\n");
    fs::write(&page, stated).unwrap();
    let solution = copy.root.join("solutions/ch03_tcp/handshake.rs");
    let program = fs::read_to_string(&solution).unwrap();
    let other = program.replace("\"closed\"", "\"closed it\"");
    fs::write(&solution, other).unwrap();
    let said = copy.lab(&check);
    fs::write(&page, text).unwrap();
    fs::write(&solution, program).unwrap();
    said.exits(1).says(&["was closed, and is closed it", " 1 broken"]);
}

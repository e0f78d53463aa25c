//! What the server answers: right answers and broken ones, and their pieces.

use serde::{Deserialize, Serialize};
use testbed::Draw;

/// A path, what the server says to it, and what is to be made of that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// What is special about it, as the evidence has it.
    pub kind: String,
    /// The path that it answers.
    pub path: String,
    /// Its bytes, as they are sent.
    pub pieces: Vec<Vec<u8>>,
    /// Does the server close after it?
    pub fin: bool,
    /// On which connection it belongs, counted from 0.
    pub connection: usize,
    /// The lines about it.
    pub expected: Vec<String>,
}

/// A list under construction.
struct List<'a> {
    draw: &'a mut Draw,
    answers: Vec<Answer>,
    connection: usize,
}

impl List<'_> {
    fn letters(&mut self) -> String {
        let count = self.draw.count(5..=24) as usize;
        self.draw.letters(count)
    }

    /// One more answer. After `fin`, and after an error, comes a new
    /// connection.
    fn add(
        &mut self,
        kind: &str,
        pieces: Vec<Vec<u8>>,
        fin: bool,
        expected: Vec<String>,
    ) {
        let last = self.answers.last().is_some_and(Answer::is_the_last);
        self.connection += usize::from(last);
        self.answers.push(Answer {
            kind: kind.to_string(),
            path: format!("/{}", self.draw.letters(6)),
            pieces,
            fin,
            connection: self.connection,
            expected,
        });
    }

    /// One that is to be read as it is meant; cut at drawn places.
    fn right(&mut self, kind: &str, head: &str, body: &str, text: &str) {
        let bytes = format!("{head}\r\n\r\n{body}");
        let status = head.split(' ').nth(1).unwrap_or_default();
        let expected = vec![result(status, text.as_bytes())];
        let fin = head.contains(": close") || head.starts_with("HTTP/1.0");
        let pieces = self.cut(bytes.as_bytes(), 2);
        self.add(kind, pieces, fin, expected);
    }

    /// One that is to be refused; in one piece.
    fn wrong(&mut self, kind: &str, bytes: String, fin: bool, error: &str) {
        let expected = vec![format!("error: {error}")];
        self.add(kind, vec![bytes.into_bytes()], fin, expected);
    }

    /// Cuts at `count` places, or fewer where they fall together.
    fn cut(&mut self, bytes: &[u8], count: usize) -> Vec<Vec<u8>> {
        let mut places = vec![0, bytes.len()];
        for _ in 0..count {
            places.push(self.draw.count(1..=bytes.len() as u64 - 1) as usize);
        }
        places.sort();
        places.dedup();
        places.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect()
    }

    /// A Content-Length field, in one of the ways in which it may be written.
    fn length(&mut self, length: usize) -> String {
        match self.draw.count(0..=3) {
            0 => format!("Content-Length: {length}"),
            1 => format!("content-length:{length}"),
            2 => format!("CONTENT-LENGTH: \t{length} "),
            _ => format!("Content-length:   {length}"),
        }
    }

    /// A status line and fields that say `text` is of that length.
    fn plain(&mut self, status: &str, length: usize) -> String {
        let length = self.length(length);
        format!("HTTP/1.1 {status}\r\nServer: x\r\n{length}")
    }
}

impl Answer {
    /// Is nothing more to be asked on its connection?
    fn is_the_last(&self) -> bool {
        let bad = |line: &String| line.starts_with("error") || line == SURPLUS;
        self.fin || self.expected.iter().any(bad)
    }
}

const SURPLUS: &str = "surplus";

fn result(status: &str, body: &[u8]) -> String {
    format!("{status}, {} bytes: {}", body.len(), body.escape_ascii())
}

/// Answers that are right.
pub fn answers(draw: &mut Draw) -> Vec<Answer> {
    let mut list = List { draw, answers: Vec::new(), connection: 0 };
    let body = format!("{}\r\n\r\n{}", list.letters(), list.letters());
    let head = list.plain("200 OK", body.len());
    let bytes = format!("{head}\r\n\r\n{body}");
    let pieces = bytes.bytes().map(|byte| vec![byte]).collect();
    let expected = vec![result("200", body.as_bytes())];
    list.add("byte by byte", pieces, false, expected);

    let (first, second) = (chunk_of(&mut list, 17..=40), list.letters());
    let text = format!("{first}{second}");
    let body = format!(
        "{:x};{}=1\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\nExpires: 0\r\n\r\n",
        first.len(),
        list.draw.letters(3),
        second.len()
    );
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked";
    list.right("chunks with sizes of two digits", head, &body, &text);

    let head = "HTTP/1.1 204 No Content\r\nServer: x";
    list.right("no content", head, "", "");

    let text = list.letters();
    let head = list.plain("200 OK", text.len());
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload";
    let bytes = format!("{early}\r\n\r\n{head}\r\n\r\n{text}").into_bytes();
    let expected = vec![result("200", text.as_bytes())];
    let kind = "an interim answer before the answer";
    list.add(kind, vec![bytes], false, expected);

    let first = format!("{}\r\n0\r\n\r\n", list.draw.letters(3));
    let second = list.draw.letters(5);
    let text = format!("{first}{second}");
    let body = format!(
        "{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: x";
    list.right("a chunk that looks like the end", head, &body, &text);

    let head = list.plain("200 OK", 0);
    list.right("a length of 0", &head, "", "");

    let text = list.letters();
    let field = list.draw.letters(5000);
    let head = list.plain("200 OK", text.len());
    let head = format!("{head}\r\nX-Long: {field}");
    list.right("a long head", &head, &text, &text);

    let text = list.letters();
    let head = list.plain("404 Not Found", text.len());
    let head = format!("{head}\r\nConnection: close");
    list.right("an answer that closes", &head, &text, &text);

    let text = list.letters();
    let head = "HTTP/1.0 200 OK\r\nServer: x";
    list.right("no length at all", head, &text, &text);

    let (text, more) = (list.letters(), list.letters());
    let head = list.plain("200 OK", text.len());
    let bytes = format!("{head}\r\n\r\n{text}{more}").into_bytes();
    let mut expected = vec![result("200", text.as_bytes())];
    expected.push(SURPLUS.to_string());
    list.add("a length that is too short", vec![bytes], false, expected);

    plain_one(&mut list);
    list.answers
}

fn chunk_of(
    list: &mut List<'_>,
    length: std::ops::RangeInclusive<u64>,
) -> String {
    let length = list.draw.count(length) as usize;
    list.draw.letters(length)
}

fn plain_one(list: &mut List<'_>) {
    let text = list.letters();
    let head = list.plain("200 OK", text.len());
    list.right("the answer after those", &head, &text, &text);
}

/// Answers with a fault each, and a right one.
pub fn broken(draw: &mut Draw) -> Vec<Answer> {
    let mut list = List { draw, answers: Vec::new(), connection: 0 };
    let text = list.letters();
    let bytes = format!("/html>\nHTTP/1.1 200 OK\r\n\r\n{text}");
    list.wrong("no status line", bytes, false, "bad status line");

    let bytes = "HTTP/1.1 200 OK\r\nContent-Length 5\r\n\r\nhello".to_string();
    list.wrong("a field without a colon", bytes, false, "bad field");

    let head = list.plain("200 OK", text.len() + 7);
    let bytes = format!("{head}\r\n\r\n{text}");
    list.wrong("a length that is too long", bytes, true, "truncated");

    let count = list.draw.count(14..=18);
    let fields: String = (0..count)
        .map(|at| format!("X-{at}: {}\r\n", list.draw.letters(690)))
        .collect();
    let head = list.plain("200 OK", text.len());
    let bytes = format!("{head}\r\n{fields}\r\n{text}");
    list.wrong("a head without end", bytes, false, "head too long");

    let signed = format!("Content-Length: +{}", text.len());
    let bytes = format!("HTTP/1.1 200 OK\r\n{signed}\r\n\r\n{text}");
    list.wrong("a length with a sign", bytes, false, "bad length");

    let (short, long) = (text.len() - 2, list.length(text.len()));
    let bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {short}\r\n{long}\r\n\r\n{text}"
    );
    list.wrong("two different lengths", bytes, false, "two lengths");

    let coding = "Transfer-Encoding: chunked";
    let bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{coding}\r\n\r\n\
         {:x}\r\n{text}\r\n0\r\n\r\n",
        text.len(),
        text.len(),
    );
    list.wrong("a length and chunks", bytes, false, "two lengths");

    let chunked = format!("HTTP/1.1 200 OK\r\n{coding}\r\n\r\n");
    let bytes = format!("{chunked}five\r\n{text}\r\n0\r\n\r\n");
    list.wrong("a size that is no number", bytes, false, "bad chunk");

    let bytes = format!("{chunked}{:0>17}\r\n{text}\r\n0\r\n\r\n", "")
        .replace("00000000000000000", "f000000000000000f");
    list.wrong("a size beyond all numbers", bytes, false, "bad chunk");

    let size = text.len() - 2;
    let bytes = format!("{chunked}{size:x}\r\n{text}\r\n0\r\n\r\n");
    list.wrong("a chunk longer than its size", bytes, false, "bad chunk");

    let size = text.len() + 9;
    let bytes = format!("{chunked}{size:x}\r\n{text}");
    list.wrong("chunks that break off", bytes, true, "truncated");

    let head = list.plain("200 OK", 30_000_000_000);
    let bytes = format!("{head}\r\n\r\n{text}");
    list.wrong("a length beyond all memory", bytes, true, "truncated");

    plain_one(&mut list);
    list.answers
}

/// Answers as a user of `lab run` writes them: `\r` and `\n` for line ends, `|`
/// where they are cut, and `FIN` as the last piece.
pub fn given(values: &[String]) -> Vec<Answer> {
    let answers = values.iter().enumerate().map(|(at, text)| {
        let text = text.replace("\\r", "\r").replace("\\n", "\n");
        let mut pieces: Vec<&str> = text.split('|').collect();
        let fin = pieces.last() == Some(&"FIN");
        if fin {
            pieces.pop();
        }
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        Answer {
            kind: String::new(),
            path: format!("/{}", at + 1),
            pieces: pieces.map(|piece| piece.as_bytes().to_vec()).collect(),
            fin,
            connection: 0,
            expected: Vec::new(),
        }
    });
    answers.collect()
}

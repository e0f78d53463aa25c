//! What is shown while the run goes on, and what is typed meanwhile.

use std::io::stdin;
use std::time::Duration;

use graders::perform::{Message, ORDERS, Orders, Request, Show};
use graders::verdict::Performance;
use testbed::Trace;
use testbed::trace::{Event, Live, MOMENT, Painter, What};

use crate::style;

/// What `--follow` does, in the words of its help.
pub const FOLLOW_HELP: &str = "\
    Show frames, states, steps, output and calls as they happen.\n\n\
    A frame's line has the state of its connection on each host, left and right, \
    once the frame had arrived or was lost. A change of state that no such line \
    shows, of that connection and within 50 ms, gets a line of its own, like \
    `Kongming20 #1 LAST-ACK -> CLOSED`. Connections are counted by their first \
    SYN. Everything is shown 50 ms late, in the order in which it happened.";

/// Plays a request: with `follow` all that happens is printed, without it the
/// programs' output. With a console, the wire gets what is typed.
pub fn show(request: &Request, follow: bool) -> anyhow::Result<Performance> {
    let mut show = Show::start(request)?;
    if request.console {
        println!("console  cut, plug, release, or a rule; `?` explains\n");
        obey_the_keyboard(show.orders());
    }
    let calls = request.syscalls || !request.calls.is_empty();
    let mut screen = Screen::new(follow, calls);
    loop {
        match show.within(screen.patience())? {
            Some(Message::Up(blank)) => screen.blank = Some(*blank),
            Some(Message::Event(event)) => screen.hear(&event),
            Some(Message::Refused(failure)) => refuse(&failure),
            Some(Message::Performance(performance)) => {
                screen.end();
                return Ok(*performance);
            }
            None => {}
        }
        screen.tell();
    }
}

/// What is known of the run, and how it is shown.
struct Screen {
    follow: bool,
    calls: bool,
    blank: Option<Trace>,
    live: Option<Live>,
}

impl Screen {
    fn new(follow: bool, calls: bool) -> Screen {
        Screen { follow, calls, blank: None, live: None }
    }

    /// How long nothing need be done if nothing happens.
    fn patience(&self) -> Duration {
        match self.live.as_ref().is_some_and(Live::waits) {
            true => MOMENT,
            false => Duration::MAX,
        }
    }

    fn hear(&mut self, event: &Event) {
        let Some(blank) = &self.blank else { return };
        if self.follow {
            let live = self.live.get_or_insert_with(|| {
                let mut painter = Painter::new(blank, true);
                if self.calls {
                    painter = painter.with_calls();
                }
                print!("{}", painter.header());
                Live::new(painter)
            });
            live.hear(event);
        } else if let What::Output(out) = &event.what {
            let who = format!("{} {}", event.host, out.program);
            println!("{} {}", style::dim(&format!("{who:<24}|")), out.line);
        }
    }

    fn tell(&mut self) {
        if let (Some(live), Some(blank)) = (&mut self.live, &self.blank) {
            print!("{}", live.due(blank));
        }
    }

    fn end(&mut self) {
        if let (Some(live), Some(blank)) = (&mut self.live, &self.blank) {
            print!("{}", live.rest(blank));
        }
    }
}

/// Passes lines of standard input on, until its end or the run's. Nobody waits
/// for this thread: a read of a terminal has no end.
fn obey_the_keyboard(orders: Orders) {
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            match line.trim() {
                "" => {}
                "?" => println!("{}", console_help()),
                order => {
                    if let Err(err) = orders.give(order) {
                        refuse(&err);
                    }
                }
            }
        }
    });
}

fn refuse(why: &dyn std::fmt::Display) {
    eprintln!("{} {why}", style::bad("not done:"));
}

/// The orders, for `--help` and for `?`.
pub fn console_help() -> String {
    let mut help = String::from(
        "Give the wire orders while the run goes on, each a line on standard \
         input; implies\n--follow. The scenario pauses for 2 s before each of \
         its first ten steps.\n\n",
    );
    for (word, meaning) in ORDERS {
        help.push_str(&format!("  {word:<9} {meaning}\n"));
    }
    help.push_str("  RULE      arm it at once, like `drop syn`; see --rule\n");
    help.push_str("  ?         this list");
    help
}

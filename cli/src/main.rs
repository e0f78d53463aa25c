//! `lab`: the course in a terminal.

mod bench;
mod board;
mod book;
mod check;
mod claims;
mod completions;
mod doctor;
mod errno;
mod hint;
mod machines;
mod names;
mod probing;
mod record;
mod reset;
mod run;
mod serve;
mod shell;
mod solution;
mod style;
mod sys;
mod verify;
mod watch;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Learn how Linux servers and networks work: two real hosts, a wire that
/// obeys, and every packet visible.
///
/// Without a command it shows the board and the next lab; on a terminal it also
/// serves the book and grades each lab as its file is saved.
#[derive(Parser)]
#[command(name = "lab", version, bin_name = "lab")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The board: chapters, labs, states, minutes
    List(board::List),
    /// Run a lab's program in its scenario and see what happened on the wire
    Run(run::Run),
    /// Grade labs; exit status 0 only if all of them pass
    Check(check::CheckArgs),
    /// Grade each lab as its file is saved, in a window beside the editor
    Watch(watch::WatchArgs),
    /// Help with the last failure: each time one rung more
    Hint(hint::HintArgs),
    /// Bring a lab's stub back; your file is kept beside it
    Reset(reset::Reset),
    /// After a pass: the reference and the alternatives beside your own
    Solution(solution::SolutionArgs),
    /// A shell, or one command, on a host of a running or a fresh network
    Shell(shell::Shell),
    /// What the text of 2013 says, tested on this kernel: holds, changed, never
    Claims(claims::Claims),
    /// What each call can say: the errno, its cause and its cure, made on purpose
    Errno(errno::Errno),
    /// Try what this machine can do, and say how to cure what it cannot
    Doctor(doctor::Doctor),
    /// Serve the book on 127.0.0.1
    Serve(serve::Serve),
    /// For authors: run what the book's pages show, and keep what came of it
    Record(record::Record),
    /// For authors: the book from its pages and recorded runs
    Book(book::Book),
    /// For maintainers: solutions pass, stubs are not started, mutants are
    /// refused with their own cause
    Verify(verify::Verify),
    /// For maintainers: measure the testbed on this machine
    Bench(bench::Bench),
    /// Print a completion script for your shell
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    graders::first_of_all();
    bench::play_if_asked();
    sys::end_with_the_reader();
    let cli = Cli::parse();
    let done = match cli.command {
        None if stdout().is_terminal() => watch::course(),
        None => board::show(),
        Some(Command::List(args)) => args.run(),
        Some(Command::Run(args)) => args.run(),
        Some(Command::Check(args)) => args.run(),
        Some(Command::Watch(args)) => args.run(),
        Some(Command::Hint(args)) => args.run(),
        Some(Command::Reset(args)) => args.run(),
        Some(Command::Solution(args)) => args.run(),
        Some(Command::Shell(args)) => args.run(),
        Some(Command::Claims(args)) => args.run(),
        Some(Command::Errno(args)) => args.run(),
        Some(Command::Doctor(args)) => args.run(),
        Some(Command::Serve(args)) => args.run(),
        Some(Command::Record(args)) => args.run(),
        Some(Command::Book(args)) => args.run(),
        Some(Command::Verify(args)) => args.run(),
        Some(Command::Bench(args)) => args.run(),
        Some(Command::Completions(args)) => args.run(Cli::command()),
    };
    done.unwrap_or_else(|err| {
        eprintln!("{} {err:#}", style::bad("error:"));
        ExitCode::from(2)
    })
}

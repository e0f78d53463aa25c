//! Graders: for each lab a scenario, and what must come of it.
//!
//! A grader runs a program on the hosts of a network of its own, with a peer
//! and a wire that do what the scenario says, and judges what was seen: frames,
//! socket states, output, exit. It cannot see whose program it judges; the
//! cause of a failure comes from evidence alone.
//!
//! Modules, in reading order; each uses those above it:
//!
//! - [`catalogue`]: which labs there are
//! - [`subject`]: whose program is judged, and where its source is
//! - [`compile`]: from that source to a binary
//! - [`causes`]: what each cause of a failure means, and what helps
//! - [`generated`]: wrong programs that are made and not written
//! - [`stage`]: a scenario in its process: the network, programs, waiting
//! - [`filter`], [`corpus`]: lines and frames for programs that answer each
//! - [`perform`]: that process seen from outside: started, heard, ended
//! - [`verdict`]: named checks with evidence; a cause
//! - [`snapshot`]: a run's text against the recorded one
//! - [`progress`]: how far the learner is
//! - one module a chapter: the graders
//! - [`grade`]: a subject in, a verdict out
//! - `ground`: what a probe stands on, with no lab's program
//! - [`claims`]: what the text of 2013 says, and what this kernel does
//! - [`errnos`]: what each call can say, made on purpose

pub mod catalogue;
pub mod causes;
pub mod claims;
pub mod compile;
pub mod corpus;
pub mod errnos;
pub mod filter;
pub mod generated;
pub mod hash;
pub mod perform;
pub mod progress;
pub mod snapshot;
pub mod stage;
pub mod subject;
pub mod verdict;

mod ch01_suite;
mod ch02_ip;
mod ch03_tcp;
mod ch04_http;
mod ch05_sockets;
mod ch13_processes;
mod ch14_threads;
mod ground;
mod sys;

pub mod grade;

use stage::{Halt, Stage};
use testbed::Profile;
use verdict::{Judge, Performance};

/// All there is to know about a lab's grading.
pub struct Grader {
    /// The lab's name.
    pub id: &'static str,
    /// The stub as it was shipped: a file equal to it is not started.
    pub pristine: &'static str,
    /// The performances that a verdict is made of, side by side. `lab run`
    /// shows the first of the profile that is asked for.
    pub takes: &'static [Take],
    /// What happens, in a process of its own with the network up.
    pub scenario: fn(&mut Stage) -> Result<(), Halt>,
    /// What must have come of it.
    pub judge: fn(&[Performance], &mut Judge),
    /// Known mistakes: programs that must be refused.
    pub mutants: &'static [Mutant],
    /// Right programs written differently: they must pass.
    pub alternatives: &'static [&'static str],
}

/// One way to play a scenario.
pub struct Take {
    /// Its name, for the scenario, the evidence and the snapshot.
    pub name: &'static str,
    /// How the kernel behaves.
    pub profile: Profile,
}

/// A known mistake.
pub struct Mutant {
    /// The name of its file in `mutants/CHAPTER/LAB/`.
    pub name: &'static str,
    /// The cause by which the grader must refuse it; no two have the same. What
    /// it means is in `causes.toml`.
    pub cause: &'static str,
}

/// The graders, in the order of the catalogue.
pub static GRADERS: &[&Grader] = &[
    &ch01_suite::frames::GRADER,
    &ch01_suite::arp::GRADER,
    &ch01_suite::dns::GRADER,
    &ch01_suite::encapsulate::GRADER,
    &ch02_ip::ipv4_header::GRADER,
    &ch02_ip::fragments::GRADER,
    &ch02_ip::routes::GRADER,
    &ch02_ip::forward::GRADER,
    &ch02_ip::redirect::GRADER,
    &ch02_ip::ipv6::GRADER,
    &ch02_ip::ping::GRADER,
    &ch03_tcp::tcp_header::GRADER,
    &ch03_tcp::handshake::GRADER,
    &ch03_tcp::half_close::GRADER,
    &ch03_tcp::connect_timeout::GRADER,
    &ch03_tcp::tcp_states::GRADER,
    &ch03_tcp::time_wait::GRADER,
    &ch03_tcp::orphan::GRADER,
    &ch03_tcp::reset::GRADER,
    &ch03_tcp::half_open::GRADER,
    &ch03_tcp::nagle::GRADER,
    &ch03_tcp::window::GRADER,
    &ch03_tcp::rto::GRADER,
    &ch03_tcp::congestion::GRADER,
    &ch04_http::resolve::GRADER,
    &ch04_http::http_get::GRADER,
    &ch04_http::forward_proxy::GRADER,
    &ch04_http::cookies::GRADER,
    &ch05_sockets::byteorder::GRADER,
    &ch05_sockets::sockaddr::GRADER,
    &ch05_sockets::inet_text::GRADER,
    &ch05_sockets::bind_errors::GRADER,
    &ch05_sockets::backlog::GRADER,
    &ch05_sockets::accept::GRADER,
    &ch05_sockets::connect_errors::GRADER,
    &ch05_sockets::close_shutdown::GRADER,
    &ch05_sockets::oob::GRADER,
    &ch05_sockets::udp::GRADER,
    &ch05_sockets::sendmsg::GRADER,
    &ch05_sockets::sock_names::GRADER,
    &ch05_sockets::sockopts::GRADER,
    &ch05_sockets::netdb::GRADER,
    &ch13_processes::fork_exec::GRADER,
    &ch13_processes::zombies::GRADER,
    &ch13_processes::pipe_ipc::GRADER,
    &ch13_processes::sysv_sem::GRADER,
    &ch13_processes::shared_memory::GRADER,
    &ch13_processes::message_queue::GRADER,
    &ch13_processes::pass_fd::GRADER,
    &ch14_threads::threads::GRADER,
    &ch14_threads::mutex::GRADER,
    &ch14_threads::condvar::GRADER,
    &ch14_threads::semaphore::GRADER,
];

/// What every program with graders in it does first, before any thread: plays
/// a scenario or a wrong program's part, if this process was started for that,
/// and settles how snapshots are compared.
pub fn first_of_all() {
    testbed::machine::act();
    perform::play_if_asked();
    generated::act_if_asked();
    snapshot::settle_environment();
}

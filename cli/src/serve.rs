//! `lab serve`: the book on this machine's own address, and nowhere else.
//!
//! The book is built and read into memory when the server starts, so no path
//! that a browser sends is ever opened. Served so, its pages are alive: each lab
//! can be run and graded on its page. [`guard`] says who may ask for that.

mod acts;
mod api;
mod check;
mod differs;
mod guard;
mod run;
mod saves;
mod site;
mod stream;

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, Response, StatusCode, header};
use clap::Args;
use graders::catalogue::root;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use notify::{RecursiveMode, Watcher};
use tokio::sync::watch::Sender;

use crate::{style, watch};
use api::Api;
pub use api::Wish;
use guard::Guard;
use site::Site;

/// Where the book is if nobody else is there.
const PORT: u16 = 3000;
/// What an author's editor does to a file comes within this time.
const SETTLED: Duration = Duration::from_millis(60);
/// What changes the book, below the checkout.
const SOURCES: &[&str] = &["book", "solutions", "labs/labs.toml"];
/// Pages come from here, run nothing from elsewhere, and are in no one's frame.
const POLICY: &str = "default-src 'self' 'unsafe-inline' data:; \
                      frame-ancestors 'self'; form-action 'none'";

/// Whom our answers are for.
const SAME: &str = "same-origin";

/// Arguments of `lab serve`.
#[derive(Args)]
pub struct Serve {
    /// The port on 127.0.0.1; without it 3000, or another if that is taken
    #[arg(long)]
    port: Option<u16>,
    /// For authors: build the book anew as its sources are saved, and reload
    /// the pages that are open
    #[arg(long)]
    live: bool,
}

impl Serve {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if watch::is_watched() {
            watch::end_with_the_watcher();
        }
        let listener = listen(self.port)?;
        // Before the first build, so that no save falls between the two.
        let eyes = self.live.then(watch_sources).transpose()?;
        let server = Server::open(&listener, self.live)?;
        println!("the book  http://{}", listener.local_addr()?);
        // Who starts it beside a watcher reads one line.
        if !watch::is_watched() {
            println!("{}", style::dim("Ctrl-C ends it"));
        }
        if let Some(eyes) = eyes {
            server.build_anew(eyes);
        }
        server.serve(listener)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A server beside this process, which ends with it.
pub struct Beside {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    server: Child,
}

impl Beside {
    /// Starts it. It is a process of its own, so that whoever reaps children in
    /// this one does not reap those of the runs.
    ///
    /// # Errors
    ///
    /// The book cannot be built, or there is no port.
    pub fn start() -> anyhow::Result<Beside> {
        let mut server = watch::beside(&["serve"])
            .stderr(Stdio::inherit())
            .spawn()
            .context("exec /proc/self/exe")?;
        let stdout = server.stdout.take().context("standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("read")?;
        let at = line.find("http://").context("it could not be served")?;
        Ok(Beside { address: line[at..].trim().to_string(), server })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.server.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.server.wait();
    }
}

/// A socket on loopback.
fn listen(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match (bind(port.unwrap_or(PORT)), port) {
        (Err(err), None) if err.kind() == io::ErrorKind::AddrInUse => bind(0),
        (listener, _) => listener,
    };
    let port = port.unwrap_or(PORT);
    let listener = listener.with_context(|| {
        format!(
            "bind 127.0.0.1:{port}\n  likely cause: another server has the \
             port, or it is below 1024\n  cure: another --port, or none"
        )
    })?;
    listener.set_nonblocking(true).context("fcntl O_NONBLOCK")?;
    Ok(listener)
}

/// What an author saves.
struct Eyes {
    events: Receiver<()>,
    _watcher: notify::RecommendedWatcher,
}

impl Eyes {
    /// Sleeps until something was saved and nothing is any more; `false`:
    /// nobody watches. (A method, so that who calls it in a thread keeps the
    /// watcher too.)
    fn see_saves(&self) -> bool {
        let seen = self.events.recv().is_ok();
        while self.events.recv_timeout(SETTLED).is_ok() {}
        seen
    }
}

fn watch_sources() -> anyhow::Result<Eyes> {
    let (sender, events) = channel();
    let mut watcher = notify::recommended_watcher(
        move |event: notify::Result<notify::Event>| {
            let looked = event.is_ok_and(|event| event.kind.is_access());
            if !looked {
                let _ = sender.send(());
            }
        },
    )
    .context("inotify_init1")?;
    for source in SOURCES {
        let path = root().join(source);
        watcher
            .watch(&path, RecursiveMode::Recursive)
            .with_context(|| format!("inotify {}", path.display()))?;
    }
    Ok(Eyes { events, _watcher: watcher })
}

/// The book as it is now, and who waits for the next.
#[derive(Clone)]
struct Server {
    site: Arc<RwLock<Arc<Site>>>,
    /// Counts the builds; `None`: there is one and no other.
    builds: Option<Sender<u64>>,
    guard: Arc<Guard>,
    api: Arc<Api>,
}

impl Server {
    fn open(listener: &TcpListener, live: bool) -> anyhow::Result<Server> {
        let port = listener.local_addr().context("getsockname")?.port();
        let site = Site::build(live)?;
        Ok(Server {
            site: Arc::new(RwLock::new(Arc::new(site))),
            builds: live.then(|| Sender::new(1)),
            guard: Arc::new(Guard::new(port)?),
            api: Arc::default(),
        })
    }

    fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("epoll_create1")?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let routes = Router::new().fallback(answer).with_state(self);
            axum::serve(listener, routes).await
        })?;
        Ok(())
    }

    /// Builds the book anew whenever its sources are saved.
    fn build_anew(&self, eyes: Eyes) {
        let server = self.clone();
        std::thread::spawn(move || {
            while eyes.see_saves() {
                match Site::build(true) {
                    Ok(site) => server.replace(site),
                    Err(err) => eprintln!("{} {err:#}", style::bad("error:")),
                }
            }
        });
    }

    fn replace(&self, site: Site) {
        if let Ok(mut now) = self.site.write() {
            *now = Arc::new(site);
        }
        if let Some(builds) = &self.builds {
            builds.send_modify(|number| *number += 1);
        }
    }
}

async fn answer(
    State(server): State<Server>,
    request: Request,
) -> Response<Body> {
    if request.uri().path().starts_with("/api/") {
        return match server.guard.run(request.headers()) {
            Ok(()) => server.api.clone().answer(request).await,
            Err(why) => refuse(why),
        };
    }
    if let Err(why) = server.guard.page(request.headers()) {
        return refuse(why);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let said = "only GET and HEAD\n";
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", said);
    }
    let path = request.uri().path();
    if let (Some(builds), "/live") = (&server.builds, path) {
        let seen = request.uri().query().and_then(|q| q.parse::<u64>().ok());
        let mut builds = builds.subscribe();
        let newer = |number: &u64| Some(*number) != seen;
        let number = builds.wait_for(newer).await.map_or(0, |number| *number);
        return respond(StatusCode::OK, "text/plain", number.to_string());
    }
    let site = match server.site.read() {
        Ok(site) => site.clone(),
        Err(poisoned) => poisoned.into_inner().clone(),
    };
    let (status, file) = match site.find(path) {
        Some(file) => (StatusCode::OK, Some(file)),
        None => (StatusCode::NOT_FOUND, site.find("/404.html")),
    };
    let Some(file) = file else {
        return respond(status, "text/plain", "there is no such page\n");
    };
    if !file.kind.starts_with("text/html") {
        return respond(status, file.kind, file.bytes);
    }
    let number = server.builds.as_ref().map(|builds| *builds.borrow());
    let page = file.page(server.guard.token(), number);
    respond(status, file.kind, page)
}

fn refuse(why: &str) -> Response<Body> {
    respond(StatusCode::FORBIDDEN, "text/plain", format!("{why}\n"))
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), SAME),
        (HeaderName::from_static("cross-origin-opener-policy"), SAME),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

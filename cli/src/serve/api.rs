//! What the pages ask of the server, under `/api/`. Answers are JSON, or a
//! stream of events where something goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail, ensure};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Response, StatusCode};
use graders::catalogue::{self, Lab};
use graders::progress::{self, State};
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::Profile;

use super::acts::Acts;
use super::{check, run, saves};
use crate::{board, book, reset};

/// No request of ours is longer.
const MOST_BYTES: usize = 64 << 10;
/// The header that names the page which asks: an act of it ends the one before.
const PAGE: &str = "x-lab-page";

/// What goes on for the pages.
#[derive(Default)]
pub struct Api {
    acts: Acts,
    runs: AtomicU64,
    /// The runs whose wire can be told something.
    wires: Mutex<HashMap<u64, run::Wire>>,
}

/// An error that is the request's.
struct Refused(StatusCode, String);

/// A request for a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The lab's name.
    pub lab: String,
    /// `lab` or `solution`; without one as `lab run` chooses.
    #[serde(default)]
    pub subject: Option<String>,
    /// `book` or `modern`.
    #[serde(default)]
    pub profile: Option<String>,
    /// A take of the scenario.
    #[serde(default)]
    pub take: Option<String>,
    /// What is drawn from.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Rules for the wire.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Values for the program.
    #[serde(default)]
    pub values: Vec<String>,
    /// Are system calls to be seen?
    #[serde(default)]
    pub syscalls: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    lab: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    order: String,
}

impl Api {
    /// Answers a request that may ask.
    pub async fn answer(self: Arc<Api>, request: Request) -> Response<Body> {
        match self.route(request).await {
            Ok(response) => response,
            Err(Refused(status, why)) => {
                respond(status, &json!({ "error": why }))
            }
        }
    }

    async fn route(
        self: Arc<Api>,
        request: Request,
    ) -> Result<Response<Body>, Refused> {
        let (head, body) = request.into_parts();
        let path: Vec<&str> =
            head.uri.path().trim_start_matches("/api/").split('/').collect();
        let page = head.headers.get(PAGE).and_then(|page| page.to_str().ok());
        let page = page.unwrap_or_default().to_string();
        let body = axum::body::to_bytes(body, MOST_BYTES).await;
        let body = body.map_err(|err| {
            Refused(StatusCode::PAYLOAD_TOO_LARGE, err.to_string())
        })?;
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["labs"]) => Ok(ok(&labs().map_err(internal)?)),
            (&Method::GET, ["labs", id]) => {
                Ok(ok(&choices(&lab(id)?).map_err(internal)?))
            }
            (&Method::GET, ["saves"]) => Ok(saves::stream()),
            (&Method::POST, ["run"]) => {
                let wish: Wish = parse(&body)?;
                let lab = lab(&wish.lab)?;
                let wish = run::Checked::new(lab, wish).map_err(bad)?;
                let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
                let act = self.acts.begin(&page);
                Ok(run::stream(wish, number, act, self.clone()))
            }
            (&Method::POST, ["run", number, "wire"]) => {
                let Order { order } = parse(&body)?;
                self.tell_the_wire(number, &order)
            }
            (&Method::POST, ["check"]) => {
                let Named { lab: id } = parse(&body)?;
                Ok(check::stream(&lab(&id)?, self.acts.begin(&page)))
            }
            (&Method::POST, ["reset"]) => {
                let Named { lab: id } = parse(&body)?;
                let done = reset::bring_back(&lab(&id)?).map_err(internal)?;
                let kept = match done {
                    reset::Done::Already => None,
                    reset::Done::Kept(kept) => kept,
                };
                Ok(ok(&json!({ "kept": kept })))
            }
            _ => Err(Refused(StatusCode::NOT_FOUND, "no such thing".into())),
        }
    }

    /// From now on the wire of this run can be told something.
    pub fn open_wire(&self, number: u64, wire: run::Wire) {
        locked(&self.wires).insert(number, wire);
    }

    /// The run is over.
    pub fn close_wire(&self, number: u64) {
        locked(&self.wires).remove(&number);
    }

    fn tell_the_wire(
        &self,
        number: &str,
        order: &str,
    ) -> Result<Response<Body>, Refused> {
        let number: u64 = number
            .parse()
            .map_err(|_| Refused(StatusCode::NOT_FOUND, "no number".into()))?;
        let wires = locked(&self.wires);
        let Some(wire) = wires.get(&number) else {
            let why = "that run is over".to_string();
            return Err(Refused(StatusCode::CONFLICT, why));
        };
        wire.order(order).map_err(bad)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bad(err: anyhow::Error) -> Refused {
    Refused(StatusCode::BAD_REQUEST, format!("{err:#}"))
}

fn internal(err: anyhow::Error) -> Refused {
    Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("{err:#}"))
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|err| bad(err.into()))
}

/// A lab of exactly this name: nothing else that a browser sends is looked up.
fn lab(id: &str) -> Result<Lab, Refused> {
    let all = catalogue::all().map_err(internal)?;
    let found = all.into_iter().find(|lab| lab.id == id);
    found.ok_or_else(|| {
        Refused(StatusCode::NOT_FOUND, format!("there is no lab `{id}`"))
    })
}

fn ok(body: &Value) -> Response<Body> {
    respond(StatusCode::OK, body)
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    super::respond(status, "application/json", body.to_string())
}

/// The board.
pub fn labs() -> anyhow::Result<Value> {
    let mut board = board::json()?;
    let all = catalogue::all()?;
    let rows = board["labs"].as_array_mut().context("a board has rows")?;
    for (row, lab) in rows.iter_mut().zip(&all) {
        row["page"] = address(lab).into();
    }
    let open = |lab: &&Lab| {
        progress::state(lab).is_ok_and(|state| state != State::Passed)
    };
    board["next"] = all.iter().find(open).map(|lab| lab.id.clone()).into();
    Ok(board)
}

/// The path of a lab's page on this server.
pub fn address(lab: &Lab) -> String {
    let page = lab.page();
    let page = page.strip_prefix("book/src").unwrap_or(&page);
    format!("/{}", page.with_extension("html").display())
}

/// What a reader can choose for a run.
fn choices(lab: &Lab) -> anyhow::Result<Value> {
    let grader = lab.grader()?;
    let takes: Vec<Value> = grader
        .takes
        .iter()
        .map(|take| json!({"name": take.name, "profile": take.profile.name()}))
        .collect();
    let (values, rules) = of_the_page(lab)?;
    let kinds: Vec<Value> = testbed::KINDS
        .iter()
        .map(|(word, _, meaning)| json!({"word": word, "meaning": meaning}))
        .collect();
    let state = progress::state(lab)?;
    Ok(json!({
        "lab": {
            "id": lab.id, "chapter": lab.chapter, "title": lab.title,
            "minutes": lab.minutes, "needs": lab.needs, "state": state,
            "page": address(lab),
        },
        "source": lab.source(),
        "profiles": [Profile::Modern.name(), Profile::Book.name()],
        "takes": takes,
        "values": values,
        "rules": rules,
        "kinds": kinds,
        "hosts": ["ernest-laptop", "Kongming20"],
        "wire": lab.chapter == run::WITH_A_CONSOLE,
    }))
}

/// The values and the rules in the commands that the page shows.
fn of_the_page(lab: &Lab) -> anyhow::Result<(String, Vec<String>)> {
    let pages = book::pages()?;
    let page = pages.iter().find(|page| page.lab.as_ref() == Some(lab));
    let orders = page.context("a lab has a page")?.orders()?;
    let (mut values, mut rules) = (String::new(), Vec::new());
    for order in orders {
        let words = book::page::split(&order.command)?;
        if words.first().map(String::as_str) != Some("run") {
            continue;
        }
        if values.is_empty() {
            values = run::values_of(&words).join(" ");
        }
        rules.extend(run::rules_of(&words));
    }
    rules.dedup();
    Ok((values, rules))
}

/// What a wish may have at most.
pub fn measure(wish: &Wish) -> anyhow::Result<()> {
    const MOST: usize = 32;
    const LONG: usize = 200;
    for list in [&wish.rules, &wish.values] {
        ensure!(list.len() <= MOST, "at most {MOST} values and rules");
        let long = list.iter().any(|word| word.len() > LONG);
        ensure!(!long, "a value or rule has at most {LONG} bytes");
    }
    match wish.subject.as_deref() {
        None | Some("lab" | "solution") => Ok(()),
        Some(other) => bail!("`{other}` is neither lab nor solution"),
    }
}

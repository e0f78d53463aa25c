//! A verdict for a page: `lab check` in a process group of its own, that ends
//! when the reader leaves.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::http::Response;
use graders::catalogue::Lab;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::acts::Act;
use super::stream::{Sink, stream as events};
use crate::watch::{self, PHASE};

/// `phase` for each of its phases, then `verdict` or `error`.
pub fn stream(lab: &Lab, act: Arc<Act>) -> Response<Body> {
    let leaving = act.clone();
    let (sink, response) = events(move || leaving.end());
    let lab = lab.clone();
    std::thread::spawn(move || {
        if let Err(err) = grade(&lab, &act, &sink) {
            sink.say("error", &json!({ "what": format!("{err:#}") }));
        }
    });
    response
}

fn grade(lab: &Lab, act: &Act, sink: &Sink) -> anyhow::Result<()> {
    let mut command = watch::performer(lab);
    let mut child = command.arg("--json").spawn().context("lab check")?;
    let group = Pid::from_raw(child.id() as i32);
    // Its standard input stays open here: the process ends with it.
    act.ends_by(move || {
        let _ = killpg(group, Signal::SIGKILL);
    });
    let stderr = child.stderr.take().context("standard error")?;
    let phases = sink.clone();
    let errors = std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            match line.strip_prefix(PHASE) {
                Some(phase) => {
                    phases.say("phase", &json!({ "phase": phase }));
                }
                None => said.push_str(&(line + "\n")),
            }
        }
        said
    });
    let mut said = String::new();
    let mut stdout = child.stdout.take().context("standard output")?;
    stdout.read_to_string(&mut said).context("read the verdict")?;
    let errors = errors.join().unwrap_or_default();
    // Who watches in this process may have waited for it before.
    let _ = child.wait();
    if act.is_over() {
        return Ok(());
    }
    let Ok(mut results) = serde_json::from_str::<Value>(&said) else {
        bail!("{}", errors.trim());
    };
    sink.say("verdict", &results["results"][0].take());
    Ok(())
}

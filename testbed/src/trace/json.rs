//! The trace as JSON for scripts: the recorded facts, and what they mean.

use serde_json::{Map, Value, json};

use super::{Event, Trace, View, What};

impl Trace {
    /// `{"lab", "kernel", "profile", "backend", "seed", "epoch_ns", "hosts",
    /// "events", "losses", "not_kept"}`.
    ///
    /// Each event has `t_ns`, `host` and `kind`: `frame`, `state`, `call`,
    /// `return`, `output` or `step`. A call has its `program`, `thread` (counted
    /// from 1), `tid`, `name` and six `args`; if the program is traced also
    /// `text`, the call as one would write it. A `return` is that of a traced
    /// call: `program`, `thread`, `tid`, `name`, `entered_ns` (the call's
    /// `t_ns`), `result` (of an error the negative errno) and `text`. Both have
    /// `startup: true` where the call only prepares the program and is not its
    /// own. Calls after a program's first 10,000 are in `calls_not_kept`. A
    /// frame has its `bytes` in hexadecimal, its `length`, what the
    /// `wire` did to it, when it was `delivered_ns`, `states` (host name to TCP
    /// state, once it was delivered), a `protocol`, a `summary` and, for TCP,
    /// a `segment` with `connection`, `from`, `to`, `flags`, relative `seq` and
    /// `ack`, `data`, `window`, `urgent`, `options` and `again`.
    pub fn to_json(&self, lab: &str) -> Value {
        let mut view = View::new();
        let events: Vec<Value> = self
            .events
            .iter()
            .map(|event| self.event(event, &mut view))
            .collect();
        let mut whole = Map::from_iter([("lab".to_string(), json!(lab))]);
        // Serialising plain structs cannot fail; a failure would show as null.
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            whole.extend(fields);
        }
        whole.insert("events".to_string(), Value::Array(events));
        Value::Object(whole)
    }

    fn event(&self, event: &Event, view: &mut View) -> Value {
        let mut value = serde_json::to_value(event).unwrap_or_default();
        let (What::Frame(frame), Value::Object(fields)) =
            (&event.what, &mut value)
        else {
            return value;
        };
        let packet = frame.packet();
        fields.insert("protocol".into(), packet.protocol().into());
        if let Some(segment) = view.segment(self, frame) {
            fields.insert("summary".into(), segment.summary().into());
            let decoded = json!({
                "connection": segment.connection,
                "from": segment.from,
                "to": segment.to,
                "flags": segment.flags.names(),
                "seq": segment.seq,
                "ack": segment.ack,
                "data": segment.data,
                "window": segment.window,
                "urgent": segment.urgent,
                "options": segment.options,
                "again": segment.again,
            });
            fields.insert("segment".into(), decoded);
        } else {
            let summary = packet.describe(&|address| self.name_of(address));
            fields.insert("summary".into(), summary.into());
        }
        value
    }
}

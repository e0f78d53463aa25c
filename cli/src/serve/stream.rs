//! Server-sent events: messages of a name and JSON, as long as somebody reads.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use serde_json::Value;
use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, unbounded_channel,
};
use tokio_stream::Stream;

/// What is called when nobody reads any more.
type End = Box<dyn FnOnce() + Send>;

/// The writing end.
#[derive(Clone)]
pub struct Sink {
    messages: UnboundedSender<Bytes>,
}

impl Sink {
    /// Sends a message; `false`: nobody reads any more.
    pub fn say(&self, event: &str, data: &Value) -> bool {
        let message = format!("event: {event}\ndata: {data}\n\n");
        self.messages.send(message.into()).is_ok()
    }

    /// Is there no reader left?
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }
}

/// A stream and its writing end. When the reader leaves, or has read the last
/// message, `end` is called.
pub fn stream(end: impl FnOnce() + Send + 'static) -> (Sink, Response<Body>) {
    let (sender, receiver) = unbounded_channel();
    let messages = Messages { receiver, end: Some(Box::new(end)) };
    let mut response = Response::new(Body::from_stream(messages));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    let never = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
    (Sink { messages: sender }, response)
}

struct Messages {
    receiver: UnboundedReceiver<Bytes>,
    end: Option<End>,
}

impl Stream for Messages {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

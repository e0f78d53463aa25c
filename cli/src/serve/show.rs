use graders::perform::{Request, perform};
use graders::verdict::Performance;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use testbed::Trace;
use testbed::trace::Event;
pub enum News {
    Up(Box<Trace>),
    Event(Event),
    Performance(Box<Performance>),
}
pub struct Show {
    rx: Receiver<anyhow::Result<News>>,
}
#[derive(Clone)]
pub struct Orders;
impl Orders {
    pub fn end(&self) {}
    pub fn send(&self, _o: &str) -> anyhow::Result<()> {
        Ok(())
    }
}
impl Show {
    pub fn start(request: &Request) -> anyhow::Result<Show> {
        let (tx, rx) = channel();
        let request = request.clone();
        std::thread::spawn(move || {
            let mut up = false;
            let t2 = tx.clone();
            let done = perform(&request, |blank, event| {
                if !up {
                    up = true;
                    let _ = t2.send(Ok(News::Up(Box::new(blank.clone()))));
                }
                let _ = t2.send(Ok(News::Event(event.clone())));
            });
            let _ = tx.send(done.map(|p| News::Performance(Box::new(p))));
        });
        Ok(Show { rx })
    }
    pub fn orders(&self) -> Orders {
        Orders
    }
    pub fn next(&mut self, limit: Duration) -> anyhow::Result<Option<News>> {
        match self.rx.recv_timeout(limit) {
            Ok(n) => n.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(_) => anyhow::bail!("gone"),
        }
    }
}

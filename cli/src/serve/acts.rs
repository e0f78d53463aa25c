//! One thing at a time for each page: a new one ends the one before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What can be called to end something.
type End = Box<dyn FnOnce() + Send>;

/// Something that goes on for a page, until it is ended.
#[derive(Default)]
pub struct Act {
    over: AtomicBool,
    end: Mutex<Option<End>>,
}

impl Act {
    /// Ends it, now or as soon as it has said how.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        let end =
            self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(end) = end {
            end();
        }
    }

    /// Is it ended?
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Says how it is ended.
    pub fn ends_by(&self, end: impl FnOnce() + Send + 'static) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Box::new(end));
        if self.is_over() {
            self.end();
        }
    }
}

/// What goes on, by page.
#[derive(Default)]
pub struct Acts {
    pages: Mutex<HashMap<String, Weak<Act>>>,
}

impl Acts {
    /// Ends what goes on for the page, and begins something new.
    pub fn begin(&self, page: &str) -> Arc<Act> {
        let act = Arc::new(Act::default());
        let before = {
            let pages = self.pages.lock();
            let mut pages = pages.unwrap_or_else(PoisonError::into_inner);
            pages.retain(|_, act| act.strong_count() > 0);
            pages.insert(page.to_string(), Arc::downgrade(&act))
        };
        if let Some(before) = before.and_then(|act| act.upgrade()) {
            before.end();
        }
        act
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_new_act_of_a_page_ends_the_one_before_and_no_other() {
        let acts = Acts::default();
        let (sender, ended) = channel();
        let first = acts.begin("a");
        first.ends_by(move || sender.send(()).unwrap());
        let other = acts.begin("b");
        assert!(ended.try_recv().is_err());
        let second = acts.begin("a");
        assert!(ended.try_recv().is_ok() && first.is_over());
        assert!(!second.is_over() && !other.is_over());
    }

    #[test]
    fn what_is_ended_early_is_ended_once_it_says_how() {
        let act = Act::default();
        act.end();
        let (sender, ended) = channel();
        act.ends_by(move || sender.send(()).unwrap());
        assert!(ended.try_recv().is_ok());
    }
}

//! A gate that holds whoever comes until the test opens it.

use std::sync::Arc;

use tokio::sync::watch;

/// Closed at first; clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    arrivals: usize,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    pub fn close(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    pub fn is_open(&self) -> bool {
        self.state.borrow().open
    }

    /// Stands at the gate until it is open.
    pub async fn pass(&self) {
        self.state.send_modify(|state| state.arrivals += 1);
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.state.subscribe().wait_for(|state| state.open).await;
    }

    /// How many have come to the gate so far, whether it let them through or not.
    pub fn arrivals(&self) -> usize {
        self.state.borrow().arrivals
    }

    /// Completes when at least `count` have come to the gate.
    pub async fn arrived(&self, count: usize) {
        let _ = self.state.subscribe().wait_for(|state| state.arrivals >= count).await;
    }
}

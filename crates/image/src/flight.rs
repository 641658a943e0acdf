//! Work that several clients ask for at once is done once: the first does it, the others watch and find it done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedMutexGuard, watch};
use types::Digest;

use crate::Counter;

/// One piece of work under way.
pub(crate) struct Flight {
    turn: Arc<tokio::sync::Mutex<()>>,
    progress: watch::Sender<Counter>,
}

/// The right to do the work; it passes on when dropped, finished or not.
pub(crate) struct Turn {
    _flight: Arc<Flight>,
    _guard: OwnedMutexGuard<()>,
}

#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Digest, Weak<Flight>>>,
}

impl Flights {
    /// Waits for the turn to work on `digest`; meanwhile passes on what the one at work reports.
    pub(crate) async fn turn(&self, digest: &Digest, watched: impl Fn(Counter)) -> Turn {
        let flight = self.flight(digest);
        let mut progress = flight.progress.subscribe();
        let lock = Arc::clone(&flight.turn).lock_owned();
        tokio::pin!(lock);
        loop {
            tokio::select! {
                biased;
                guard = &mut lock => return Turn { _flight: flight, _guard: guard },
                Ok(()) = progress.changed() => watched(*progress.borrow_and_update()),
            }
        }
    }

    /// Tells those who wait for `digest` how far it is.
    pub(crate) fn report(&self, digest: &Digest, counter: Counter) {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(digest).and_then(Weak::upgrade) {
            flight.progress.send_replace(counter);
        }
    }

    fn flight(&self, digest: &Digest) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(digest).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let progress = watch::Sender::new(Counter { current: 0, total: 0 });
        let flight = Arc::new(Flight { turn: Arc::default(), progress });
        flights.insert(digest.clone(), Arc::downgrade(&flight));
        flight
    }
}

/// Tells blocking work that nobody waits for it any more.
#[derive(Clone, Default)]
pub(crate) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a guard that sets it when dropped: when the client's future goes away.
    pub(crate) fn on_drop(&self) -> SetOnDrop {
        SetOnDrop(self.clone())
    }
}

pub(crate) struct SetOnDrop(Cancelled);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The blobs and layers that work under way needs and no record reaches yet; the collector spares them.
#[derive(Default)]
pub(crate) struct Pins {
    counts: Mutex<HashMap<Digest, usize>>,
}

/// Holds some pins until dropped.
pub(crate) struct Pinned {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

impl Pins {
    pub(crate) fn hold(self: &Arc<Self>, digests: Vec<Digest>) -> Pinned {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in &digests {
            *counts.entry(digest.clone()).or_default() += 1;
        }
        drop(counts);
        Pinned { pins: Arc::clone(self), digests }
    }

    /// Runs `collect` while no pin comes or goes; it is told what is pinned.
    pub(crate) fn excluding<T>(&self, collect: impl FnOnce(&dyn Fn(&Digest) -> bool) -> T) -> T {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        collect(&|digest| counts.contains_key(digest))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut counts = self.pins.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in &self.digests {
            if let Some(count) = counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(digest);
                }
            }
        }
    }
}

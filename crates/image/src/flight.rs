//! Work that several clients ask for at once is done once: the first does it, the others watch and find it done.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, OwnedMutexGuard, watch};
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
///
/// The disk is slow and this is asked from async code, so no lock is held while something is removed: the collector dooms first, and
/// who needs a doomed thing waits until it is gone, to make it anew.
#[derive(Default)]
pub(crate) struct Pins {
    state: Mutex<PinState>,
    relieved: Notify,
}

#[derive(Default)]
struct PinState {
    counts: HashMap<Digest, usize>,
    doomed: HashSet<Digest>,
}

/// Holds some pins until dropped.
pub(crate) struct Pinned {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

/// What a collector is about to remove; relieved when dropped.
pub(crate) struct Doomed {
    pins: Arc<Pins>,
    digests: HashSet<Digest>,
}

impl Pins {
    /// Pins `digests`, once none of them is being removed.
    pub(crate) async fn hold(self: &Arc<Self>, digests: Vec<Digest>) -> Pinned {
        loop {
            let relieved = self.relieved.notified();
            tokio::pin!(relieved);
            // Listens from before the look, so that nothing is missed between look and wait.
            relieved.as_mut().enable();
            if self.try_hold(&digests) {
                return Pinned { pins: Arc::clone(self), digests };
            }
            relieved.await;
        }
    }

    fn try_hold(&self, digests: &[Digest]) -> bool {
        let mut state = self.lock();
        if digests.iter().any(|digest| state.doomed.contains(digest)) {
            return false;
        }
        for digest in digests {
            *state.counts.entry(digest.clone()).or_default() += 1;
        }
        true
    }

    /// Dooms those of `candidates` that are neither pinned nor reached. `reached` is asked while no pin comes or goes: work records
    /// what it made before it lets go of its pins.
    pub(crate) fn doom(
        self: &Arc<Self>,
        candidates: HashSet<Digest>,
        reached: impl FnOnce() -> HashSet<Digest>,
    ) -> Doomed {
        let mut state = self.lock();
        let reached = reached();
        let mut digests = candidates;
        digests.retain(|digest| {
            !(reached.contains(digest)
                || state.counts.contains_key(digest)
                || state.doomed.contains(digest))
        });
        state.doomed.extend(digests.iter().cloned());
        Doomed { pins: Arc::clone(self), digests }
    }

    fn lock(&self) -> MutexGuard<'_, PinState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doomed {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let mut state = self.pins.lock();
        state.doomed.retain(|digest| !self.digests.contains(digest));
        drop(state);
        self.pins.relieved.notify_waiters();
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut state = self.pins.lock();
        for digest in &self.digests {
            if let Some(count) = state.counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    state.counts.remove(digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(digests: &[&Digest]) -> HashSet<Digest> {
        digests.iter().copied().cloned().collect()
    }

    #[tokio::test]
    async fn what_is_pinned_or_reached_is_not_doomed() {
        let pins = Arc::new(Pins::default());
        let (a, b, c) = (Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c"));
        let pinned = pins.hold(vec![a.clone(), a.clone()]).await;
        let doomed = pins.doom(set(&[&a, &b, &c]), || set(&[&b]));
        assert_eq!(doomed.digests, set(&[&c]));
        // Another collector leaves to this one what is its.
        assert!(pins.doom(set(&[&c]), HashSet::new).digests.is_empty());
        drop((pinned, doomed));
        assert_eq!(pins.doom(set(&[&a]), HashSet::new).digests, set(&[&a]));
    }

    #[tokio::test]
    async fn who_needs_a_doomed_thing_waits_until_it_is_gone() {
        let pins = Arc::new(Pins::default());
        let a = Digest::of(b"a");
        let doomed = pins.doom(set(&[&a]), HashSet::new);
        let other = Arc::clone(&pins);
        let waiting = tokio::spawn(async move { drop(other.hold(vec![Digest::of(b"a")]).await) });
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(doomed);
        waiting.await.expect("it goes on");
    }
}

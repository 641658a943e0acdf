//! Who is there: containers by id and name, each with what readers may see and where requests go.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use types::ContainerId;

use crate::actor::Command;
use crate::attach::Waiting;
use crate::shimlink::Live;
use crate::view::{ContainerView, HealthView, Status};
use crate::{EngineError, Result};

/// How far a container is, for those who wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) status: Status,
    /// How often a process of it has ended.
    pub(crate) exits: u64,
    pub(crate) exit_code: i32,
    pub(crate) removed: bool,
    /// Why the removal failed.
    pub(crate) removal_error: Option<String>,
}

/// A container as the rest of the engine sees it.
pub(crate) struct Handle {
    pub(crate) id: ContainerId,
    mailbox: mpsc::UnboundedSender<Command>,
    view: RwLock<Arc<ContainerView>>,
    pub(crate) progress: watch::Sender<Progress>,
    /// The running process and its shim; none when it does not run.
    live: RwLock<Option<Arc<Live>>>,
    pub(crate) health: Mutex<Option<HealthView>>,
    /// Clients that wait for the container to start.
    pub(crate) waiting: Mutex<Vec<Waiting>>,
    tickets: AtomicU64,
    /// How many read the root now.
    pub(crate) readers: Mutex<usize>,
    /// A start has mounted the root, or is about to.
    pub(crate) root_taken: AtomicBool,
}

impl Handle {
    pub(crate) fn new(view: ContainerView) -> (Arc<Self>, mpsc::UnboundedReceiver<Command>) {
        let (mailbox, inbox) = mpsc::unbounded_channel();
        let progress = Progress {
            status: view.state.status,
            exit_code: view.state.exit_code,
            ..Progress::default()
        };
        let handle = Self {
            id: view.id.clone(),
            mailbox,
            view: RwLock::new(Arc::new(view)),
            progress: watch::channel(progress).0,
            live: RwLock::new(None),
            health: Mutex::new(None),
            waiting: Mutex::default(),
            tickets: AtomicU64::new(0),
            readers: Mutex::new(0),
            root_taken: AtomicBool::new(false),
        };
        (Arc::new(handle), inbox)
    }

    /// What readers see now; never waits for the actor.
    pub(crate) fn view(&self) -> Arc<ContainerView> {
        Arc::clone(&self.view.read())
    }

    pub(crate) fn publish(&self, view: ContainerView) {
        *self.view.write() = Arc::new(view);
    }

    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        self.live.read().clone()
    }

    pub(crate) fn set_live(&self, live: Option<Arc<Live>>) {
        *self.live.write() = live;
    }

    /// Whether the root is mounted for a run, and not only for readers.
    pub(crate) fn is_mounted_for_run(&self) -> bool {
        self.root_taken.load(Ordering::Acquire)
    }

    /// Notes that a run needs the root, or no longer does.
    pub(crate) fn take_root(&self, taken: bool) {
        self.root_taken.store(taken, Ordering::Release);
    }

    /// A number for the next registered client.
    pub(crate) fn ticket_number(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a command into the actor's mailbox.
    pub(crate) fn send(&self, command: Command) -> Result<()> {
        self.mailbox.send(command).map_err(|_| EngineError::no_such_container(self.id.as_str()))
    }
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<ContainerId, Arc<Handle>>,
    names: HashMap<String, ContainerId>,
}

/// All containers.
#[derive(Default)]
pub(crate) struct Roster {
    inner: RwLock<Inner>,
}

impl Roster {
    /// Finds by full id, name (with or without slash) or unique prefix of the id, in this order.
    ///
    /// # Errors
    /// `NotFound`; `Invalid`: several ids begin so.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Handle>> {
        let inner = self.inner.read();
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(handle) = text.parse::<ContainerId>().ok().and_then(|id| inner.by_id.get(&id)) {
            return Ok(Arc::clone(handle));
        }
        if let Some(handle) = inner.names.get(name).and_then(|id| inner.by_id.get(id)) {
            return Ok(Arc::clone(handle));
        }
        let mut fits = by_prefix(&inner.by_id, name);
        match (fits.next(), fits.next()) {
            (Some(handle), None) => Ok(Arc::clone(handle)),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!(
                "multiple IDs found with provided prefix: {name}"
            ))),
            (None, _) => Err(EngineError::no_such_container(text)),
        }
    }

    /// Takes a name for a container to be.
    ///
    /// # Errors
    /// `Conflict`, in Docker's words.
    pub(crate) fn reserve(&self, name: &str, id: &ContainerId) -> Result<()> {
        let mut inner = self.inner.write();
        match inner.names.get(name) {
            Some(owner) if owner != id => Err(EngineError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                inner.names.insert(name.to_owned(), id.clone());
                Ok(())
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&self, name: &str, id: &ContainerId) {
        let mut inner = self.inner.write();
        if inner.names.get(name) == Some(id) {
            inner.names.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, handle: Arc<Handle>) {
        self.inner.write().by_id.insert(handle.id.clone(), handle);
    }

    /// Forgets a container and its name.
    pub(crate) fn forget(&self, id: &ContainerId) {
        let mut inner = self.inner.write();
        inner.by_id.remove(id);
        inner.names.retain(|_, owner| owner != id);
    }

    /// Everyone, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.inner.read().by_id.values().cloned().collect()
    }
}

fn by_prefix<'a>(
    by_id: &'a BTreeMap<ContainerId, Arc<Handle>>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a Arc<Handle>> {
    let hex = !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let start = format!("{prefix:0<64}").parse::<ContainerId>().ok().filter(|_| hex);
    start
        .into_iter()
        .flat_map(|start| by_id.range((Bound::Included(start), Bound::Unbounded)))
        .take_while(move |(id, _)| id.as_str().starts_with(prefix))
        .map(|(_, handle)| handle)
}

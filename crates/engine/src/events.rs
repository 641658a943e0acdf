//! What happened, for `events`: a ring of the last 256 and any number of subscribers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::filters::Filters;
use crate::request::EventsRequest;
use crate::{EngineError, Result};

/// How many events are remembered for `--since` (as in Docker).
const RING: usize = 256;
/// How far a subscriber may fall behind before it loses events.
const BACKLOG: usize = 4096;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Subject {
    Container,
    Image,
    Network,
    Volume,
    Daemon,
}

impl Subject {
    /// The word that Docker uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Daemon => "daemon",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub subject: Subject,
    /// What happened: `create`, `start`, `die`, `exec_create: CMD` and so on.
    pub action: String,
    /// The id (container, network) or the name (image, volume).
    pub actor: String,
    /// Docker's attributes: labels, `image`, `name`, `exitCode` and so on.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// The one place that events go through.
pub(crate) struct Events {
    ring: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: Mutex::new(VecDeque::with_capacity(RING)),
            live: broadcast::channel(BACKLOG).0,
        }
    }
}

impl Events {
    /// Remembers an event and tells every subscriber.
    pub(crate) fn publish(
        &self,
        subject: Subject,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let (action, actor) = (action.into(), actor.into());
        let time = Timestamp::now();
        let event = Arc::new(Event { subject, action, actor, attributes, time });
        // Sent under the ring's lock: a subscriber sees each event either in the ring or live, never both, never neither.
        let mut ring = self.ring.lock();
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(Arc::clone(&event));
        let _ = self.live.send(event);
    }

    /// Opens a stream of events.
    pub(crate) fn subscribe(&self, request: EventsRequest) -> Result<EventStream> {
        request.filters.allow_only(KNOWN_FILTERS)?;
        let ring = self.ring.lock();
        let live = self.live.subscribe();
        let replay = match request.since {
            Some(since) => ring.iter().filter(|event| event.time >= since).cloned().collect(),
            None if request.until.is_some() => ring.iter().cloned().collect(),
            None => VecDeque::new(),
        };
        Ok(EventStream { replay, live, until: request.until, filters: request.filters })
    }
}

const KNOWN_FILTERS: &[&str] = &[
    "container",
    "image",
    "network",
    "volume",
    "type",
    "event",
    "label",
    "scope",
    "daemon",
    "plugin",
    "service",
    "node",
    "secret",
    "config",
];

/// The events that one client asked for.
pub struct EventStream {
    replay: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    until: Option<Timestamp>,
    filters: Filters,
}

impl EventStream {
    /// Waits for the next event; none when the time that was asked for is over.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = match self.replay.pop_front() {
                Some(event) => event,
                None => self.live_event().await?,
            };
            if self.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if matches(&self.filters, &event) {
                return Some(event);
            }
        }
    }

    async fn live_event(&mut self) -> Option<Arc<Event>> {
        let until = self.until;
        let end = async move {
            match until {
                None => std::future::pending().await,
                Some(until) => {
                    let left = until.duration_since(Timestamp::now());
                    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
                }
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                event = self.live.recv() => match event {
                    Ok(event) => return Some(event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = &mut end => return None,
            }
        }
    }
}

/// Whether an event passes the filters: all names, any value of a name.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let about = |filter: &str, subject: Subject, via: Option<&str>| {
        filters.any(filter, |want| {
            let own = event.subject == subject
                && (same_object(want, &event.actor) || same_name(want, attribute("name")));
            own || via.is_some_and(|via| same_object(want, attribute(via)))
        })
    };
    let action = event.action.split(':').next().unwrap_or_default();
    filters.any("type", |want| want == event.subject.as_str())
        && filters.any("event", |want| want == action || want == event.action)
        && filters.any("scope", |want| want == "local")
        && filters.labels("label", &event.attributes)
        && about("container", Subject::Container, Some("container"))
        && about("network", Subject::Network, None)
        && about("volume", Subject::Volume, None)
        && filters.any("image", |want| is_image(want, event, attribute("image")))
        && filters.any("daemon", |want| event.subject == Subject::Daemon && want == event.actor)
}

fn same_object(want: &str, id: &str) -> bool {
    !want.is_empty() && id.starts_with(want)
}

fn same_name(want: &str, name: &str) -> bool {
    !name.is_empty() && want.trim_start_matches('/') == name
}

fn is_image(want: &str, event: &Event, used: &str) -> bool {
    let bare = |text: &str| match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => text.to_owned(),
    };
    let fits = |have: &str| !have.is_empty() && (have == want || bare(have) == want);
    let name = event.attributes.get("name").map_or("", String::as_str);
    fits(used) || (event.subject == Subject::Image && (fits(&event.actor) || fits(name)))
}

impl EngineError {
    /// The stream of events is closed: the engine ends.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(types::Kind::Unavailable, "the engine is shutting down")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn filter(text: &str) -> Filters {
        Filters::parse(text).unwrap()
    }

    fn start_of_web() -> Event {
        Event {
            subject: Subject::Container,
            action: "start".into(),
            actor: "abc123".into(),
            attributes: attributes(&[("name", "web"), ("image", "busybox:latest"), ("tier", "1")]),
            time: Timestamp::now(),
        }
    }

    #[test]
    fn filters_choose_events() {
        let event = start_of_web();
        for yes in [
            r"{}",
            r#"{"container":["web"]}"#,
            r#"{"container":{"abc":true}}"#,
            r#"{"event":["die","start"]}"#,
            r#"{"image":["busybox"]}"#,
            r#"{"image":["busybox:latest"],"type":["container"]}"#,
            r#"{"label":["tier=1"]}"#,
        ] {
            assert!(matches(&filter(yes), &event), "{yes}");
        }
        for no in [
            r#"{"container":["web2"]}"#,
            r#"{"event":["die"]}"#,
            r#"{"type":["image"]}"#,
            r#"{"label":["tier=2"]}"#,
            r#"{"volume":["web"]}"#,
        ] {
            assert!(!matches(&filter(no), &event), "{no}");
        }
    }

    #[test]
    fn an_exec_event_is_found_by_its_first_word() {
        let event = Event { action: "exec_create: sh -c true".into(), ..start_of_web() };
        assert!(matches(&filter(r#"{"event":["exec_create"]}"#), &event));
    }

    #[tokio::test]
    async fn since_and_until_in_the_past_replay_and_end() {
        let events = Events::default();
        let since = Timestamp::now();
        for action in ["create", "start"] {
            events.publish(Subject::Container, action, "abc", BTreeMap::new());
        }
        let until = Some(Timestamp::now());
        let request = EventsRequest { since: Some(since), until, ..EventsRequest::default() };
        let mut stream = events.subscribe(request).unwrap();
        assert_eq!(stream.next().await.unwrap().action, "create");
        assert_eq!(stream.next().await.unwrap().action, "start");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_subscriber_sees_what_comes_later() {
        let events = Events::default();
        events.publish(Subject::Container, "old", "abc", BTreeMap::new());
        let mut stream = events.subscribe(EventsRequest::default()).unwrap();
        events.publish(Subject::Container, "new", "abc", BTreeMap::new());
        assert_eq!(stream.next().await.unwrap().action, "new");
    }
}

//! `ps`: filters, and the words that tell how long something is so.

use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::Engine;
use crate::filters::Filters;
use crate::request::ListRequest;
use crate::view::{ContainerSummary, ContainerView, PortView, Status};
use crate::volumes::patterns;
use crate::{EngineError, Result};

const KNOWN: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "id",
    "label",
    "name",
    "status",
    "health",
    "since",
    "volume",
    "network",
    "is-task",
    "publish",
    "expose",
    "isolation",
];

impl Engine {
    /// Lists containers, newest first.
    ///
    /// # Errors
    /// `Invalid`: bad filter.
    pub async fn list(&self, request: ListRequest) -> Result<Vec<ContainerSummary>> {
        let filters = &request.filters;
        filters.allow_only(KNOWN)?;
        check_words(filters)?;
        let mut views: Vec<Arc<ContainerView>> =
            self.roster.all().iter().map(|handle| self.complete(handle)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.created));
        let everyone = request.all
            || request.limit.is_some()
            || filters.has("status")
            || filters.has("exited");
        let names = patterns(filters.get("name"))?;
        let bounds = self.bounds(filters)?;
        let ancestors = self.ancestors(filters);
        views.retain(|view| {
            (everyone || view.state.status.is_alive() || view.state.status == Status::Restarting)
                && (names.is_empty()
                    || names
                        .iter()
                        .any(|p| p.is_match(&view.name) || p.is_match(&format!("/{}", view.name))))
                && (!filters.has("ancestor") || ancestors.contains(&view.image_id.to_string()))
                && bounds.0.is_none_or(|before| view.created < before)
                && bounds.1.is_none_or(|since| view.created > since)
                && fits(filters, view)
        });
        if let Some(limit) = request.limit {
            views.truncate(limit);
        }
        let mut list = Vec::with_capacity(views.len());
        for view in views {
            let size = if request.size { Some(self.measure(&view).await?) } else { None };
            list.push(ContainerSummary {
                command: command_line(&view),
                status: status_text(&view, Timestamp::now()),
                ports: ports(&view),
                size,
                view,
            });
        }
        Ok(list)
    }

    /// The moments of `before` and `since`, which name containers.
    fn bounds(&self, filters: &Filters) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let created = |name: &str| match filters.get(name).first() {
            None => Ok(None),
            Some(container) => self.find(container).map(|handle| Some(handle.view().created)),
        };
        Ok((created("before")?, created("since")?))
    }

    /// Ids of the images that `ancestor` names, and of those made of them.
    fn ancestors(&self, filters: &Filters) -> Vec<String> {
        let named: Vec<_> = filters
            .get("ancestor")
            .iter()
            .filter_map(|name| self.images.resolve(name).ok())
            .collect();
        let mut found: Vec<_> = named;
        if found.is_empty() {
            return Vec::new();
        }
        let all = self.images.list(&[]);
        loop {
            let more: Vec<_> = all
                .iter()
                .filter(|image| !found.contains(&image.id))
                .filter(|image| image.parent.as_ref().is_some_and(|parent| found.contains(parent)))
                .map(|image| image.id.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        found.iter().map(ToString::to_string).collect()
    }
}

/// Docker's time filters: Unix seconds, RFC 3339, or a Go duration back from now.
///
/// # Errors
/// `Invalid`.
pub(crate) fn moment(text: &str) -> Result<Timestamp> {
    let bad = || EngineError::invalid(format!("invalid filter 'until={text}'"));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
        return Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|_| bad());
    }
    let span = text.parse::<jiff::SignedDuration>().map_err(|_| bad())?;
    Timestamp::now().checked_sub(span).map_err(|_| bad())
}

fn check_words(filters: &Filters) -> Result<()> {
    let states = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    let healths = ["starting", "healthy", "unhealthy", "none"];
    for (name, words) in [("status", &states[..]), ("health", &healths[..])] {
        if let Some(bad) = filters.get(name).iter().find(|value| !words.contains(&value.as_str())) {
            return Err(EngineError::invalid(format!("invalid filter '{name}={bad}'")));
        }
    }
    for value in filters.get("exited") {
        value
            .parse::<i32>()
            .map_err(|_| EngineError::invalid(format!("invalid filter 'exited={value}'")))?;
    }
    Ok(())
}

fn fits(filters: &Filters, view: &ContainerView) -> bool {
    let labels = view.config.labels.clone().unwrap_or_default();
    let health = view.state.health.as_ref().map_or("none", |health| health.status.as_str());
    let ended = view.state.finished_at.is_some() && !view.state.status.is_alive();
    let networks = &view.network.networks;
    filters.any("id", |want| view.id.as_str().starts_with(want))
        && filters.labels("label", &labels)
        && filters.any("status", |want| want == view.state.status.as_str())
        && filters.any("health", |want| want == health)
        && filters.any("exited", |want| ended && want.parse() == Ok(view.state.exit_code))
        && filters.any("volume", |want| {
            view.mounts.iter().any(|m| {
                m.name.as_deref() == Some(want) || m.destination == want || m.source == want
            })
        })
        && filters.any("network", |want| {
            networks.iter().any(|(name, end)| {
                name == want || (!end.network_id.is_empty() && end.network_id.starts_with(want))
            })
        })
        && filters.any("publish", |want| has_port(view, want, true))
        && filters.any("expose", |want| has_port(view, want, false))
}

/// Whether one of a container's ports is `80`, `80/tcp` or in `80-90/tcp`.
fn has_port(view: &ContainerView, want: &str, published: bool) -> bool {
    let (range, protocol) = want.split_once('/').unwrap_or((want, "tcp"));
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else { return false };
    ports(view).iter().any(|port| {
        let number = if published { port.public_port } else { Some(port.private_port) };
        port.protocol == protocol && number.is_some_and(|number| (from..=to).contains(&number))
    })
}

/// Ports of a running container, sorted as `ps` prints them.
fn ports(view: &ContainerView) -> Vec<PortView> {
    let mut list = Vec::new();
    for (port, bindings) in &view.network.ports {
        let Ok((private_port, protocol)) = crate::ports::parse(port) else { continue };
        let protocol = protocol.to_string();
        match bindings {
            None => list.push(PortView { ip: None, private_port, public_port: None, protocol }),
            Some(bindings) => list.extend(bindings.iter().map(|binding| PortView {
                ip: binding.host_ip.parse().ok(),
                private_port,
                public_port: binding.host_port.parse().ok(),
                protocol: protocol.clone(),
            })),
        }
    }
    list.sort_by(|a, b| {
        (a.private_port, &a.protocol, a.public_port).cmp(&(
            b.private_port,
            &b.protocol,
            b.public_port,
        ))
    });
    list
}

fn command_line(view: &ContainerView) -> String {
    let mut line = view.path.clone();
    for arg in &view.args {
        line.push(' ');
        if arg.contains(' ') {
            line.push_str(&format!("'{arg}'"));
        } else {
            line.push_str(arg);
        }
    }
    line
}

/// Docker's rounding of a time span: `3 minutes`.
fn span(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// The STATUS column: `Up 3 minutes (healthy)`, `Exited (137) 2 hours ago`.
pub(crate) fn status_text(view: &ContainerView, now: Timestamp) -> String {
    let state = &view.state;
    let since =
        |time: Option<Timestamp>| span(time.map_or(0, |time| now.duration_since(time).as_secs()));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let up = format!("Up {}", since(state.started_at));
            match state.health.as_ref().map(|health| health.status.as_str()) {
                None => up,
                Some("starting") => format!("{up} (health: starting)"),
                Some(status) => format!("{up} ({status})"),
            }
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at))
        }
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Dead => "Dead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_as_docker_does() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (86_400 * 2, "2 days"),
            (86_400 * 14, "2 weeks"),
            (86_400 * 60, "2 months"),
            (86_400 * 800, "2 years"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn moments_are_unix_rfc_or_durations() {
        assert_eq!(moment("1700000000").unwrap().as_second(), 1_700_000_000);
        assert_eq!(moment("2024-01-01T00:00:00Z").unwrap().as_second(), 1_704_067_200);
        let ago = Timestamp::now().duration_since(moment("1h30m").unwrap()).as_secs();
        assert!((5399..=5401).contains(&ago), "{ago}");
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn bad_words_are_refused() {
        for bad in [r#"{"status":["gone"]}"#, r#"{"exited":["x"]}"#, r#"{"health":["fine"]}"#] {
            assert!(check_words(&Filters::parse(bad).unwrap()).is_err(), "{bad}");
        }
    }
}

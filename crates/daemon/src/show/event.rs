//! Events.

use api::event::{Actor, Event};
use engine::Subject;

/// One line of `GET /events`, with the old fields of API < 1.52.
pub(crate) fn event(event: &engine::Event) -> Event {
    let nanos = event.time.as_nanosecond();
    let old = matches!(event.subject, Subject::Container | Subject::Image);
    let from = event.attributes.get("image").filter(|_| event.subject == Subject::Container);
    Event {
        status: if old { event.action.clone() } else { String::new() },
        id: if old { event.actor.clone() } else { String::new() },
        from: from.cloned().unwrap_or_default(),
        r#type: event.subject.as_str().to_owned(),
        action: event.action.clone(),
        actor: Actor { id: event.actor.clone(), attributes: event.attributes.clone() },
        scope: "local".to_owned(),
        time: event.time.as_second(),
        time_nano: i64::try_from(nanos).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn containers_have_the_old_fields_and_networks_do_not() {
        let mut view = engine::Event {
            subject: Subject::Container,
            action: "start".into(),
            actor: "abc".into(),
            attributes: BTreeMap::from([("image".into(), "busybox".into())]),
            time: engine::Timestamp::from_nanosecond(1_500_000_000).unwrap(),
        };
        assert_eq!(
            serde_json::to_value(event(&view)).unwrap(),
            serde_json::json!({"status": "start", "id": "abc", "from": "busybox", "Type": "container",
                "Action": "start", "Actor": {"ID": "abc", "Attributes": {"image": "busybox"}},
                "scope": "local", "time": 1, "timeNano": 1_500_000_000})
        );
        view.subject = Subject::Network;
        let json = serde_json::to_value(event(&view)).unwrap();
        assert!(json.get("status").is_none() && json.get("from").is_none());
    }
}

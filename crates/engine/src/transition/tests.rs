//! The table against a model: a container is a process that may exist, may be frozen, may be awaited again, may be leaving.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
struct Model {
    exists: bool,
    process: bool,
    frozen: bool,
    awaited: bool,
    broken: bool,
}

fn model(state: Status) -> Model {
    let quiet =
        Model { exists: true, process: false, frozen: false, awaited: false, broken: false };
    match state {
        Status::Created | Status::Exited => quiet,
        Status::Running => Model { process: true, ..quiet },
        Status::Paused => Model { process: true, frozen: true, ..quiet },
        Status::Restarting => Model { awaited: true, ..quiet },
        Status::Removing => Model { exists: false, ..quiet },
        Status::Dead => Model { broken: true, ..quiet },
    }
}

/// What ought to be legal, said once more in other words.
fn legal(m: Model, request: Request) -> bool {
    if !m.exists {
        return false;
    }
    if m.broken {
        return matches!(request, Request::Remove { .. });
    }
    match request {
        Request::Start => !m.process,
        Request::Signal => m.process || m.awaited,
        Request::Pause | Request::Exec => m.process && !m.frozen,
        Request::Unpause => m.frozen,
        Request::Attach => !m.frozen && !m.awaited,
        Request::Remove { force } => force || !(m.process || m.awaited),
        Request::Update | Request::Rename => true,
    }
}

fn states() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Restarting,
        Status::Removing,
        Status::Exited,
        Status::Dead,
    ])
}

fn requests() -> impl Strategy<Value = Request> {
    prop::sample::select(vec![
        Request::Start,
        Request::Signal,
        Request::Pause,
        Request::Unpause,
        Request::Exec,
        Request::Attach,
        Request::Remove { force: false },
        Request::Remove { force: true },
        Request::Update,
        Request::Rename,
    ])
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_model(state in states(), request in requests()) {
        let accepted = transition(state, request) == Verdict::Accept;
        prop_assert_eq!(accepted, legal(model(state), request), "{:?} {:?}", state, request);
    }

    /// Whatever is asked in whatever order, a container that follows the table never has two processes, and can always be removed.
    #[test]
    fn a_history_of_requests_keeps_the_invariants(history in prop::collection::vec(requests(), 0..40), exits in any::<u64>()) {
        let mut state = Status::Created;
        for (step, request) in history.into_iter().enumerate() {
            let before = model(state);
            if transition(state, request) == Verdict::Accept {
                prop_assert!(!(request == Request::Start && before.process));
                state = match request {
                    Request::Start | Request::Unpause => Status::Running,
                    Request::Pause => Status::Paused,
                    Request::Remove { .. } => Status::Removing,
                    _ => state,
                };
            }
            if exits >> (step % 64) & 1 == 1 && state.is_alive() {
                state = Status::Exited;
            }
            let removable = transition(state, Request::Remove { force: true }) == Verdict::Accept;
            prop_assert!(removable || state == Status::Removing);
        }
    }
}

#[test]
fn refusals_use_dockers_words_and_kinds() {
    let say = |state, request| check(state, request, "web", "abc").unwrap_err();
    let error = say(Status::Running, Request::Start);
    assert_eq!(error.kind(), Kind::NotModified);
    let error = say(Status::Exited, Request::Exec);
    assert_eq!(
        (error.kind(), error.to_string()),
        (Kind::Conflict, "container abc is not running".into())
    );
    let error = say(Status::Running, Request::Remove { force: false });
    assert_eq!(
        error.to_string(),
        "cannot remove container \"web\": container is running: stop the container before removing or force remove"
    );
    assert_eq!(say(Status::Exited, Request::Signal).kind(), Kind::Conflict);
    let error = say(Status::Paused, Request::Exec);
    assert_eq!(error.to_string(), "container web is paused, unpause the container before exec");
}

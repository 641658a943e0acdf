use super::*;
use crate::{Attach, Event, Exec, Exit, Failure, Request, Response, Target};

fn attach() -> Attach {
    Attach {
        target: Target::Exec("e1".into()),
        stdin: true,
        stdout: true,
        stderr: false,
        detach_keys: vec![16, 17],
        initial: b"\0\xffhello".to_vec(),
        preface: Vec::new(),
    }
}

fn examples() -> Vec<Message> {
    let exit = Exit {
        code: Some(137),
        signal: Some(9),
        finished_at_unix_nanos: 1_700_000_000_000_000_001,
    };
    let exec = Exec {
        exec_id: "e1".into(),
        process: serde_json::json!({"args": ["sh", "-c", "echo \u{1F980}"], "cwd": "/"}),
        tty: true,
        stdin: true,
        console_size: Some([24, 80]),
        attach: Some(attach()),
        runtime_args: vec![],
    };
    let failure = Failure {
        step: "runtime create".into(),
        object: "abc".into(),
        errno: Some(2),
        chain: vec!["a".into(), "b".into()],
        log: "x".into(),
        exit_code: Some(127),
    };
    vec![
        Message::Request { id: 1, request: Request::Hello },
        Message::Request { id: 2, request: Request::Attach(attach()) },
        Message::Request { id: u64::MAX, request: Request::Exec(Box::new(exec)) },
        Message::Request {
            id: 3,
            request: Request::Resize { target: Target::Init, height: 1, width: 65535 },
        },
        Message::Response { id: 3, response: Response::Failed(failure) },
        Message::Response { id: 4, response: Response::Ok },
        Message::Event { event: Event::Exited(exit) },
        Message::Event { event: Event::ExecExited { exec_id: "e1".into(), exit } },
    ]
}

#[test]
fn every_message_reads_back_with_its_descriptors() {
    for (count, message) in (0u16..).map(|n| n % 2).zip(examples()) {
        let bytes = encode(&message, count).unwrap();
        let (back, descriptors, len) = decode(&bytes).unwrap().unwrap();
        assert_eq!((back, descriptors, len), (message, count, bytes.len()));
    }
}

#[test]
fn a_stream_in_single_bytes_yields_every_message_in_order() {
    let mut stream = Vec::new();
    for message in examples() {
        stream.extend(encode(&message, 0).unwrap());
    }
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for byte in stream {
        decoder.push(&[byte]);
        while let Some((message, _)) = decoder.next_message().unwrap() {
            seen.push(message);
        }
    }
    assert_eq!(seen, examples());
    assert_eq!(decoder.bytes.capacity(), 0, "memory is given back");
}

#[test]
fn a_request_of_the_future_is_unknown_not_an_error() {
    let body = br#"{"type":"request","id":9,"request":{"request":"teleport","where":"moon"}}"#;
    let message: Message = serde_json::from_slice(body).unwrap();
    assert_eq!(message, Message::Request { id: 9, request: Request::Unknown });
}

#[test]
fn limits_are_refused_before_the_body_arrives() {
    let header = |magic, version, fds: u16, len: u32| {
        let ([d0, d1], [l0, l1, l2, l3]) = (fds.to_be_bytes(), len.to_be_bytes());
        decode(&[magic, version, d0, d1, l0, l1, l2, l3]).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(header(b'G', 1, 0, 1), "read frame: first byte is `0x47`");
    assert_eq!(header(b'B', 9, 0, 1), "read frame: unknown version `9`");
    assert_eq!(header(b'B', 1, 5, 1), "read frame: `5` descriptors");
    assert_eq!(header(b'B', 1, 0, u32::MAX), "read frame: body of `4294967295` bytes");
    assert!(matches!(decode(b"G"), Err(FrameError::Magic { found: b'G' })));
}

#[test]
fn hostile_bytes_never_panic() {
    let good = encode(&examples()[2], 1).unwrap();
    for at in 0..good.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let _ = decode(&bad);
            let _ = decode(&bad[..at]);
        }
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut frame = encode(&examples()[0], 0).unwrap();
    frame.truncate(HEADER_LEN);
    frame[4..8].copy_from_slice(&(deep.len() as u32).to_be_bytes());
    frame.extend(deep.as_bytes());
    assert!(matches!(decode(&frame), Err(FrameError::Body { .. })));
}

#[test]
fn documents_have_the_shape_that_is_agreed() {
    let config: crate::ShimConfig = serde_json::from_str(
        r#"{"runtime":"/usr/bin/belljar-runtime","runtime_root":"/run/belljar/runtime","tty":true,
            "log":{"path":"/l","driver":"json-file","max_size":10485760,"max_file":3},"console_size":[24,80]}"#,
    )
    .unwrap();
    assert_eq!(config.log.max_file, Some(3));
    assert!(config.tty && !config.open_stdin);
    let exit = crate::ExitRecord {
        pid: 7,
        exit: Exit { code: Some(0), signal: None, finished_at_unix_nanos: 5 },
        oom_kills: 2,
        own_limit_hits: 1,
    };
    let text = serde_json::to_string(&exit).unwrap();
    assert_eq!(
        text,
        r#"{"pid":7,"code":0,"signal":null,"finished_at_unix_nanos":5,"oom_kills":2,"own_limit_hits":1}"#
    );
    assert_eq!(serde_json::from_str::<crate::ExitRecord>(&text).unwrap(), exit);
}

use super::*;

#[derive(serde::Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: String,
}

fn config(dir: &tempfile::TempDir, max_size: u64, max_file: u32) -> LogConfig {
    LogConfig {
        path: dir.path().join("c-json.log"),
        driver: LogDriver::JsonFile,
        max_size: Some(max_size),
        max_file: Some(max_file),
    }
}

fn lines(path: &std::path::Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pieces(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut cutter, mut out) = (LineCutter::default(), Vec::new());
    for chunk in chunks {
        cutter.feed(chunk, |piece| out.push(piece.to_vec()));
    }
    cutter.finish(|piece| out.push(piece.to_vec()));
    out
}

#[test]
fn a_stream_is_cut_at_newlines_and_at_sixteen_kibibytes() {
    assert_eq!(pieces(&[b"a\nb", b"c\n\nd"]), [&b"a\n"[..], b"bc\n", b"\n", b"d"]);
    let long = vec![b'x'; MAX_PIECE * 2 + 1];
    let cut = pieces(&[&long, b"y\nz\n"]);
    let lengths: Vec<_> = cut.iter().map(Vec::len).collect();
    assert_eq!(lengths, [MAX_PIECE, MAX_PIECE, 3, 2]);
    assert_eq!(cut[2], b"xy\n");
    let whole = pieces(&[&long[..MAX_PIECE - 1], b"\nrest"]);
    assert_eq!((whole[0].len(), &whole[1][..]), (MAX_PIECE, &b"rest"[..]));
}

#[test]
fn a_line_is_written_as_docker_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, 0, 1);
    let mut log = Log::open(&config).unwrap().unwrap();
    log.line(Stream::Stdout, b"one <b>\n");
    log.line(Stream::Stderr, b"\xff");
    log.flush();
    let text = fs::read_to_string(&config.path).unwrap();
    assert!(
        text.starts_with("{\"log\":\"one \\u003cb\\u003e\\n\",\"stream\":\"stdout\",\"time\":\"20")
    );
    let read = lines(&config.path);
    assert_eq!((read[1].log.as_str(), read[1].stream.as_str()), ("\u{fffd}", "stderr"));
    assert!(read[1].time.ends_with('Z'));
}

#[test]
fn rotation_keeps_max_file_files_and_loses_no_line_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, 2_000, 3);
    let mut log = Log::open(&config).unwrap().unwrap();
    for number in 0..100 {
        log.line(Stream::Stdout, format!("line {number}\n").as_bytes());
        if number % 7 == 0 {
            log.flush();
        }
    }
    log.flush();
    let name = |suffix: &str| dir.path().join(format!("c-json.log{suffix}"));
    assert!(!name(".3").exists());
    let mut all = Vec::new();
    for suffix in [".2", ".1", ""] {
        assert!(fs::metadata(name(suffix)).unwrap().len() <= 2_000);
        all.extend(lines(&name(suffix)).into_iter().map(|line| line.log));
    }
    let expected: Vec<_> = (100 - all.len()..100).map(|n| format!("line {n}\n")).collect();
    assert!(all.len() > 60);
    assert_eq!(all, expected);
}

#[test]
fn with_one_file_rotation_starts_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, 1_000, 1);
    let mut log = Log::open(&config).unwrap().unwrap();
    for number in 0..50 {
        log.line(Stream::Stdout, format!("line {number}\n").as_bytes());
    }
    log.flush();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(fs::metadata(&config.path).unwrap().len() <= 1_000);
    assert_eq!(lines(&config.path).last().unwrap().log, "line 49\n");
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_at_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir, 0, 1);
    let whole = "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}\n";
    for (content, kept) in [
        (format!("{whole}{{\"log\":\"{}", "b".repeat(9_000)), whole),
        ("{\"log\":\"torn".to_owned(), ""),
        (whole.to_owned(), whole),
    ] {
        fs::write(&config.path, content).unwrap();
        drop(Log::open(&config).unwrap());
        assert_eq!(fs::read_to_string(&config.path).unwrap(), kept);
    }
}

#[test]
fn a_full_disk_loses_whole_lines_and_says_so_once() {
    let config = LogConfig {
        path: "/dev/full".into(),
        driver: LogDriver::JsonFile,
        max_size: None,
        max_file: None,
    };
    let mut log = Log {
        file: Some(OpenOptions::new().append(true).open("/dev/full").unwrap()),
        ..Log::open(&LogConfig { path: "/dev/null".into(), ..config }).unwrap().unwrap()
    };
    for _ in 0..2 {
        log.line(Stream::Stdout, b"lost\n");
        log.flush();
    }
    assert_eq!(log.take_failure().unwrap().raw_os_error(), Some(28));
    assert!(log.take_failure().is_none());
    assert!(log.batch.is_empty());
}

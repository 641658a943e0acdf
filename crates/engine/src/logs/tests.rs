use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use shim_protocol::stdcopy::Stream;

use super::output::Output;
use super::reader::Reader;
use super::{LogsRequest, entry};

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        Self { _dir: dir, path }
    }

    /// Appends to the newest file.
    fn add(&self, text: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn lines(&self, numbers: std::ops::Range<u32>) {
        self.add(&numbers.map(line).collect::<String>());
    }

    /// As the shim does, with `keep` files.
    fn rotate(&self, keep: u32) {
        let name = |n: u32| match n {
            0 => self.path.clone(),
            n => PathBuf::from(format!("{}.{n}", self.path.display())),
        };
        for n in (0..keep - 1).rev() {
            let _ = fs::rename(name(n), name(n + 1));
        }
    }

    fn open(&self, request: &LogsRequest) -> Reader {
        let output = Output::new(request, true, request.details.then(|| b"a=b ".to_vec()));
        Reader::open(self.path.clone(), output, request).unwrap()
    }

    fn read(&self, request: &LogsRequest) -> String {
        rest(&mut self.open(request))
    }
}

fn rest(reader: &mut Reader) -> String {
    let mut all = Vec::new();
    loop {
        let step = reader.step().unwrap();
        all.extend_from_slice(&step.chunk);
        if !step.more {
            return String::from_utf8(all).unwrap();
        }
    }
}

/// Line N has the time of second N.
fn line(number: u32) -> String {
    json(&format!("line {number}\\n"), "stdout", number)
}

fn json(escaped: &str, stream: &str, second: u32) -> String {
    let (minute, second) = (second / 60 % 60, second % 60);
    format!(
        "{{\"log\":\"{escaped}\",\"stream\":\"{stream}\",\"time\":\"2026-11-28T15:{minute:02}:{second:02}.5Z\"}}\n"
    )
}

fn shown(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("line {n}\n")).collect()
}

fn both() -> LogsRequest {
    LogsRequest { stdout: true, stderr: true, ..LogsRequest::default() }
}

fn tail(lines: usize) -> LogsRequest {
    LogsRequest { tail: Some(lines), ..both() }
}

fn moment(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

#[test]
fn all_files_are_read_in_order() {
    let log = Log::new();
    assert_eq!(log.read(&both()), "", "there is no file yet");
    log.lines(0..10);
    log.rotate(3);
    log.lines(10..20);
    log.rotate(3);
    log.lines(20..25);
    assert_eq!(log.read(&both()), shown(0..25));
    log.rotate(3);
    log.lines(25..26);
    assert_eq!(log.read(&both()), shown(10..26), "the oldest is gone");
}

#[test]
fn the_tail_is_found_in_any_file() {
    let log = Log::new();
    log.lines(0..3000);
    log.rotate(2);
    log.lines(3000..6000);
    for lines in [0, 1, 2, 999, 2999, 3000, 3001, 5999, 6000, 6001, usize::MAX] {
        let first = 6000 - u32::try_from(lines.min(6000)).unwrap();
        assert_eq!(log.read(&tail(lines)), shown(first..6000), "{lines}");
    }
    log.rotate(2);
    assert_eq!(log.read(&tail(2)), shown(5998..6000), "the newest file is not there yet");
}

#[test]
fn since_and_until_are_inclusive() {
    let log = Log::new();
    log.lines(0..50);
    let request = |since: &str, until: &str| LogsRequest {
        since: moment(since),
        until: moment(until),
        ..both()
    };
    let exact = request("2026-11-28T15:00:03.5Z", "2026-11-28T15:00:05.500Z");
    assert_eq!(log.read(&exact), shown(3..6));
    let between = request("2026-11-28T15:00:03.500000001Z", "2026-11-28T15:00:05.499999999Z");
    assert_eq!(log.read(&between), shown(4..5));
    let other_zone = request("2026-11-28T16:00:03.5+01:00", "9999-12-30T00:00:00Z");
    assert_eq!(log.read(&other_zone), shown(3..50));
    let mut reader = log.open(&exact);
    rest(&mut reader);
    assert!(reader.is_done(), "nothing later is wanted");
}

#[test]
fn stamps_have_nine_digits_and_details_follow_them() {
    let log = Log::new();
    log.lines(7..8);
    let stamped = LogsRequest { timestamps: true, ..both() };
    assert_eq!(log.read(&stamped), "2026-11-28T15:00:07.500000000Z line 7\n");
    let detailed = LogsRequest { details: true, ..stamped };
    assert_eq!(log.read(&detailed), "2026-11-28T15:00:07.500000000Z a=b line 7\n");
}

#[test]
fn pieces_of_a_line_are_one_line() {
    let log = Log::new();
    let piece = "a".repeat(16 << 10);
    log.lines(0..1);
    log.add(&json(&piece, "stdout", 1));
    log.add(&json("between\\n", "stderr", 2));
    log.add(&json(&piece, "stdout", 2));
    log.add(&json("end\\n", "stdout", 3));
    let stamped = LogsRequest { timestamps: true, stderr: false, ..both() };
    let stamp = |second| format!("2026-11-28T15:00:{second:02}.500000000Z ");
    let expected = format!("{}line 0\n{}{piece}{piece}end\n", stamp(0), stamp(1));
    assert_eq!(log.read(&stamped), expected, "one stamp");
    assert_eq!(log.read(&tail(2)), format!("{piece}between\n{piece}end\n"));
    let late = LogsRequest { until: moment("2026-11-28T15:00:01.5Z"), stderr: false, ..both() };
    assert_eq!(
        log.read(&late),
        format!("line 0\n{piece}"),
        "never past the moment in another stream"
    );
    let early = LogsRequest { since: moment("2026-11-28T15:00:02Z"), ..both() };
    assert_eq!(
        log.read(&early),
        "between\n",
        "a line that began before is not shown from its middle"
    );
}

#[test]
fn a_short_piece_ends_its_line() {
    let log = Log::new();
    log.add(&json("no feed", "stdout", 1));
    log.add(&json("next run\\n", "stdout", 2));
    assert_eq!(log.read(&tail(1)), "next run\n");
    assert_eq!(log.read(&tail(2)), "no feednext run\n");
}

#[test]
fn streams_are_framed_and_chosen() {
    let log = Log::new();
    log.add(&json("out\\n", "stdout", 1));
    log.add(&json("error\\n", "stderr", 2));
    let frames = |request: LogsRequest| {
        let output = Output::new(&request, false, None);
        let mut reader = Reader::open(log.path.clone(), output, &request).unwrap();
        rest(&mut reader)
    };
    let out = "\u{1}\0\0\0\0\0\0\u{4}out\n";
    let error = "\u{2}\0\0\0\0\0\0\u{6}error\n";
    assert_eq!(frames(both()), format!("{out}{error}"));
    assert_eq!(frames(LogsRequest { stdout: false, ..both() }), error);
    assert_eq!(frames(LogsRequest { stderr: false, ..both() }), out);
    assert_eq!(
        frames(LogsRequest { stderr: false, ..tail(1) }),
        "",
        "the tail counts both streams"
    );
}

#[test]
fn torn_and_damaged_lines_are_passed_over() {
    let log = Log::new();
    log.lines(0..1);
    log.add("\0\0\0\0\n{\"log\":\"torn by a cra\n\n[]\n{\"log\":1}\n");
    log.add(&"x".repeat(3 << 20));
    log.add("\n");
    log.lines(1..2);
    let last = line(2);
    log.add(&last[..last.len() - 5]);
    assert_eq!(log.read(&both()), shown(0..2));
    assert_eq!(log.read(&tail(1)), shown(1..2), "damage is not counted");
    let mut reader = log.open(&both());
    assert_eq!(rest(&mut reader), shown(0..2));
    log.add(&last[last.len() - 5..]);
    assert_eq!(
        rest(&mut reader),
        shown(2..3),
        "a line in the middle of being written is waited for"
    );
}

#[test]
fn a_reader_follows_rotation() {
    let log = Log::new();
    let mut reader = log.open(&both());
    assert_eq!(rest(&mut reader), "");
    log.lines(0..5);
    assert_eq!(rest(&mut reader), shown(0..5), "the first file came late");
    log.lines(5..6);
    log.rotate(3);
    assert_eq!(rest(&mut reader), shown(5..6), "renamed, and no new one yet");
    log.lines(6..8);
    log.rotate(3);
    log.lines(8..9);
    log.rotate(3);
    log.lines(9..10);
    assert_eq!(rest(&mut reader), shown(6..10), "the file that was read is removed");
    log.rotate(3);
    log.lines(10..11);
    assert_eq!(rest(&mut reader), shown(10..11));
    fs::write(&log.path, "").unwrap();
    log.lines(11..12);
    assert_eq!(rest(&mut reader), "", "as long as before: not to be told from nothing");
    fs::write(&log.path, "").unwrap();
    assert_eq!(rest(&mut reader), "");
    log.lines(12..13);
    assert_eq!(rest(&mut reader), shown(12..13), "the only file was cut");
}

#[test]
fn a_tail_of_none_shows_what_comes() {
    let log = Log::new();
    log.lines(0..5);
    let mut reader = log.open(&tail(0));
    assert_eq!(rest(&mut reader), "");
    log.lines(5..6);
    assert_eq!(rest(&mut reader), shown(5..6));
}

#[test]
fn escapes_are_taken_out() {
    let text = |escaped: &str| {
        let mut text = Vec::new();
        let entry = entry::parse(json(escaped, "stderr", 1).as_bytes(), &mut text)?;
        assert_eq!(entry.stream, Stream::Stderr);
        Some(String::from_utf8(text).unwrap())
    };
    assert_eq!(text(r#"\u003c\"\\\n\r\t\b\f\/\u00e9"#).unwrap(), "<\"\\\n\r\t\u{8}\u{c}/é");
    assert_eq!(text(r"\ud83d\ude00").unwrap(), "😀");
    assert_eq!(text("\\u2028ä").unwrap(), "\u{2028}ä");
    assert_eq!(text(r#"a"b"#), None, "a quote ends the text");
    for bad in [r"\", r"\x", r"\u12", r"\u+123"] {
        assert_eq!(text(bad), None, "{bad}");
    }
    let loose =
        br#"{ "time": "2026-11-28T15:11:37Z", "stream": "stdout", "log": "x\n", "attrs": {} }"#;
    let mut text = Vec::new();
    let entry = entry::parse(loose, &mut text).unwrap();
    assert_eq!(
        (entry.time.as_bytes(), text.as_slice()),
        (&b"2026-11-28T15:11:37.000000000Z"[..], &b"x\n"[..])
    );
}

#[test]
fn what_a_program_prints_cannot_pose_as_an_entry() {
    let forged = r#"\",\"stream\":\"stderr\",\"time\":\"2020-01-01T00:00:00Z\"}\n"#;
    let mut text = Vec::new();
    let entry = entry::parse(json(forged, "stdout", 1).as_bytes(), &mut text).unwrap();
    assert_eq!(entry.stream, Stream::Stdout);
    assert!(entry.time.as_bytes().starts_with(b"2026"));
}

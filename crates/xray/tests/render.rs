//! The forms of a report, against hostile content: names of processes, files and groups are whatever a container wants them to be.
#![allow(clippy::unwrap_used, reason = "a broken test stops")]

use xray::render;
use xray::{Claim, Evidence, Reading, Report, Section};

fn report() -> Report {
    let evidence = Evidence {
        of: "web".into(),
        place: "/proc/9/comm".into(),
        reading: Reading::Value("<script>alert(1)</script>\u{1b}[2J | `x`".into()),
    };
    let claim = Claim::new("a.b", "It is <b>bold</b>")
        .seen(evidence)
        .holds(Some(true), "found * and _")
        .because("Because.", "cat /proc/9/comm");
    let mut section = Section::new("pids", "Title");
    section.claims.push(claim);
    section.tables.push(xray::report::Table {
        title: "List".into(),
        head: vec!["a".into(), "b".into()],
        rows: vec![vec!["1|2".into(), "\u{7}x".into()]],
    });
    Report { subject: "web".into(), kernel: "6.18".into(), sections: vec![section] }
}

#[test]
fn nothing_a_container_says_is_markup_or_an_escape() {
    let report = report();
    for text in [render::text(&report, 80), render::markdown(&report), render::html(&report)] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
    }
    let html = render::html(&report);
    assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    let markdown = render::markdown(&report);
    assert!(markdown.contains(r"1\|2") && !markdown.contains("<script>"), "{markdown}");
}

#[test]
fn a_terminals_width_is_kept() {
    let text = render::text(&report(), 50);
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
    assert!(text.contains("It is <b>bold</b>: yes"), "{text}");
    assert!(text.contains("$ cat /proc/9/comm"), "{text}");
}

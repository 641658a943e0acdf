//! One page without scripts or anything from elsewhere.

use std::fmt::Write as _;

use super::{line, printable, verdict};
use crate::report::{Claim, Report, Table};

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
article{border-left:.3rem solid;padding:.1rem 1rem;margin:1rem 0}.yes{border-color:#2a7d46}.no{border-color:#b3412a}.unknown{border-color:#8a8a8a}\
code,pre{font:14px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}table{border-collapse:collapse}th,td{text-align:left;padding:.2rem .6rem;\
border-bottom:1px solid #8886}figure{margin:1rem 0;overflow-x:auto}";

/// Writes a report as an HTML page.
#[must_use]
pub fn html(report: &Report) -> String {
    let subject = escape(&report.subject);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{subject}</title><style>{STYLE}</style></head>\n<body><main><h1>{subject}</h1><p>Linux {}</p>\n",
        escape(&report.kernel)
    );
    for section in &report.sections {
        let _ = writeln!(out, "<section><h2>{}</h2>", escape(&section.title));
        section.claims.iter().for_each(|one| claim(&mut out, one));
        section.tables.iter().for_each(|one| table(&mut out, one));
        out.push_str("</section>\n");
    }
    out.push_str("</main></body></html>\n");
    out
}

fn claim(out: &mut String, claim: &Claim) {
    let verdict = verdict(claim.verdict);
    let _ = write!(
        out,
        "<article class=\"{verdict}\"><h3>{}: {verdict}</h3><p>{}</p><ul>",
        escape(&claim.text),
        escape(&claim.finding)
    );
    for evidence in &claim.evidence {
        let (place, value) = (escape(&evidence.place), escape(&line(&evidence.reading)));
        let _ = write!(out, "<li><code>{place}</code>: <code>{value}</code></li>");
    }
    let (why, check) = (escape(&claim.explanation), escape(&claim.check));
    let _ = writeln!(out, "</ul><p>{why}</p><pre>$ {check}</pre></article>");
}

fn table(out: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    let _ = write!(out, "<figure><table><caption>{}</caption><thead><tr>", escape(&table.title));
    for head in &table.head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></figure>\n");
}

fn escape(text: &str) -> String {
    let text = printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

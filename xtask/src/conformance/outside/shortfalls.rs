//! Why tests of others fall short; one that is not named here has no known reason.

/// A suite, a test (`file: name`, in which `*` at the end stands for the rest), and why it falls short.
const SHORTFALLS: &[(&str, &str, &str)] = &[];

/// Finds the reason for a test that failed.
pub(super) fn reason(suite: &str, test: &str) -> Option<&'static str> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => test.starts_with(start),
        None => test == pattern,
    };
    SHORTFALLS
        .iter()
        .find(|(of, pattern, _)| *of == suite && fits(pattern))
        .map(|(_, _, reason)| *reason)
}

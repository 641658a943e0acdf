//! The `filters` of `GET /images/json`.

use std::collections::BTreeMap;

use engine::image::ImageSummary;
use engine::{Filters, Timestamp};
use types::Reference;

use crate::failure::Failure;

const KNOWN: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

/// Which images are meant.
pub(crate) struct Selection {
    dangling: Option<bool>,
    references: Vec<String>,
    labels: Filters,
    /// Unix seconds: created before, created after.
    before: Option<i64>,
    since: Option<i64>,
}

impl Selection {
    /// Reads the filters; `created` tells when a named image was made.
    pub(crate) fn read(
        filters: &Filters,
        created: impl Fn(&str) -> Result<i64, Failure>,
    ) -> Result<Self, Failure> {
        filters.allow_only(KNOWN)?;
        let named = |name: &str| filters.get(name).first().map(|image| created(image)).transpose();
        let until = filters.get("until").first().map(|text| moment(text)).transpose()?;
        let before = [named("before")?, until].into_iter().flatten().min();
        Ok(Self {
            dangling: filters.flag("dangling")?,
            references: filters.get("reference").to_vec(),
            labels: filters.clone(),
            before,
            since: named("since")?,
        })
    }

    /// Keeps the meant images, and of their names the meant ones.
    pub(crate) fn apply(&self, images: Vec<ImageSummary>) -> Vec<ImageSummary> {
        images.into_iter().filter_map(|image| self.keep(image)).collect()
    }

    fn keep(&self, mut image: ImageSummary) -> Option<ImageSummary> {
        let dangling = image.repo_tags.is_empty() && !image.has_children;
        if self.dangling.is_some_and(|want| want != dangling) {
            return None;
        }
        if !self.references.is_empty() {
            image.repo_tags.retain(|name| self.names(name));
            image.repo_digests.retain(|name| self.names(name));
            if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
                return None;
            }
        }
        self.admits(&image).then_some(image)
    }

    fn admits(&self, image: &ImageSummary) -> bool {
        let none = BTreeMap::new();
        let labels = image.labels.as_ref().unwrap_or(&none);
        self.before.is_none_or(|time| image.created < time)
            && self.since.is_none_or(|time| image.created > time)
            && self.labels.labels("label", labels)
    }

    fn names(&self, name: &str) -> bool {
        let bare = name.parse::<Reference>().map(|r| r.familiar_name()).unwrap_or_default();
        self.references.iter().any(|pattern| glob(pattern, name) || glob(pattern, &bare))
    }
}

fn moment(text: &str) -> Result<i64, Failure> {
    let now = Timestamp::now().as_nanosecond();
    let time =
        api::time::parse(text, now).and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok());
    time.ok_or_else(|| Failure::invalid(format!("invalid filter 'until={text}'")))
}

/// Matches as Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` name one character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // `star` remembers where the last `*` stands and what it has taken, so a mismatch goes back one step only.
    let (mut p, mut t, mut star) = (0, 0, None);
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        if t < text.len()
            && let Some(next) = one(&pattern, p, text[t])
        {
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((at, taken)) if taken < text.len() && text[taken] != '/' => {
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one character at `p`; returns where the pattern goes on.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => (c != '/').then_some(p + 1),
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '[' => {
            let negated = pattern.get(p + 1) == Some(&'^');
            let first = p + 1 + usize::from(negated);
            let end = first + pattern.get(first..)?.iter().position(|&c| c == ']')?;
            (in_set(&pattern[first..end], c) != negated).then_some(end + 1)
        }
        plain => (plain == c).then_some(p + 1),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        let high = if set.get(at + 1) == Some(&'-') { set.get(at + 2) } else { None };
        if let Some(&high) = high {
            if (set[at]..=high).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_gos() {
        for (pattern, text) in [
            ("busybox", "busybox"),
            ("busy*", "busybox:latest"),
            ("*:latest", "busybox:latest"),
            ("b?sy*o*", "busybox"),
            ("[a-c]usy[^x]ox", "busybox"),
            ("*/*", "a/b"),
            ("a*b*c", "aXbXbc"),
            ("*", ""),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("busy", "busybox"), ("*", "a/b"), ("?", "/"), ("[", "["), ("", "a"), ("a*c", "abd")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(40), &"a".repeat(5000).replace("aa", "ab")));
    }

    fn image(tags: &[&str], created: i64) -> ImageSummary {
        ImageSummary {
            id: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
            parent: None,
            repo_tags: tags.iter().map(|&t| t.to_owned()).collect(),
            repo_digests: Vec::new(),
            created,
            size: 1,
            labels: Some(BTreeMap::from([("k".to_owned(), "v".to_owned())])),
            containers: 0,
            has_children: false,
        }
    }

    fn tags(filters: &str) -> Vec<Vec<String>> {
        let filters = Filters::parse(filters).unwrap();
        let selection = Selection::read(&filters, |_| Ok(20)).unwrap();
        let images = vec![image(&["a:1", "b:1"], 10), image(&[], 20), image(&["b:2"], 30)];
        selection.apply(images).into_iter().map(|i| i.repo_tags).collect()
    }

    #[test]
    fn filters_choose_images_and_their_names() {
        assert_eq!(tags(r#"{"reference":["b"]}"#), [["b:1"], ["b:2"]]);
        assert_eq!(tags(r#"{"reference":["b:2"]}"#), [["b:2"]]);
        assert_eq!(tags(r#"{"dangling":["true"]}"#).len(), 1);
        assert_eq!(tags(r#"{"dangling":["false"]}"#).len(), 2);
        assert_eq!(tags(r#"{"before":["x"]}"#), [["a:1", "b:1"]]);
        assert_eq!(tags(r#"{"since":["x"]}"#), [["b:2"]]);
        assert_eq!(tags(r#"{"label":["k=v"]}"#).len(), 3);
        assert_eq!(tags(r#"{"label":["k=w"]}"#).len(), 0);
        let unknown = Filters::parse(r#"{"x":["1"]}"#).unwrap();
        let error = Selection::read(&unknown, |_| Ok(0)).err().unwrap();
        assert_eq!(error.message(), "invalid filter 'x'");
    }
}

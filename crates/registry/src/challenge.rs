//! `WWW-Authenticate` (RFC 9110 section 11.6.1): `Bearer realm="https://auth/token",service="registry"`, `Basic realm="x"`.

/// What a registry wants to see before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

/// Reads the challenges of one header; bearer is preferred to basic, unknown schemes are passed over.
pub(crate) fn parse(headers: &[&str]) -> Option<Challenge> {
    let mut found = None;
    for header in headers {
        for (scheme, parameters) in schemes(header) {
            if scheme.eq_ignore_ascii_case("bearer") {
                let get = |name: &str| {
                    parameters
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.clone())
                };
                if let Some(realm) = get("realm") {
                    return Some(Challenge::Bearer {
                        realm,
                        service: get("service").unwrap_or_default(),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

type Scheme = (String, Vec<(String, String)>);

/// Splits a header into its schemes with their parameters.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut schemes: Vec<Scheme> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if end == 0 {
            // Not a token: nothing that follows can be trusted.
            break;
        }
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let Some((value, after)) = value_of(value.trim_start()) else { break };
            if let Some((_, parameters)) = schemes.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            schemes.push((word.to_owned(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    schemes
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// Reads a quoted or bare value; returns it and what follows.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned() })
    }

    #[test]
    fn the_usual_headers_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a,b""#;
        assert_eq!(parse(&[hub]), bearer("https://auth.docker.io/token", "registry.docker.io"));
        assert_eq!(parse(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
        assert_eq!(parse(&["bearer realm=https://x/t"]), bearer("https://x/t", ""));
    }

    #[test]
    fn bearer_wins_over_basic_in_any_order() {
        let both = r#"Basic realm="x", Bearer realm="https://a/\"t",service=s"#;
        assert_eq!(parse(&[both]), bearer("https://a/\"t", "s"));
        assert_eq!(parse(&["Basic", r#"Bearer realm="r""#]), bearer("r", ""));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for text in [
            "",
            "=",
            ",,,",
            "Bearer",
            r#"Bearer realm="unclosed"#,
            "Digest a=b",
            "\"",
            "Bearer service=x",
        ] {
            assert_eq!(parse(&[text]), None, "{text}");
        }
    }
}

//! The Dockerfile instructions that `import --change` and `commit --change` take.

use std::collections::BTreeMap;

use types::container::{ContainerConfig, Empty, Healthcheck};

use crate::Error;

/// Applies `changes` in order.
pub(crate) fn apply_all(config: &mut ContainerConfig, changes: &[String]) -> Result<(), Error> {
    changes.iter().try_for_each(|change| apply(config, change))
}

fn apply(config: &mut ContainerConfig, change: &str) -> Result<(), Error> {
    let (word, rest) = change.trim().split_once(char::is_whitespace).unwrap_or((change.trim(), ""));
    let word = word.to_ascii_uppercase();
    let rest = rest.trim();
    if rest.is_empty() && !word.is_empty() && !matches!(word.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(invalid(format!("{word} requires at least one argument")));
    }
    match word.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs("ENV", rest)? {
                set_env(config, &key, &value);
            }
        }
        "LABEL" => config.labels.get_or_insert_default().extend(pairs("LABEL", rest)?),
        "EXPOSE" => {
            let ports = config.exposed_ports.get_or_insert_default();
            for port in rest.split_whitespace() {
                ports.insert(exposed(port)?, Empty {});
            }
        }
        "VOLUME" => {
            let paths = json_words(rest)
                .unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            let volumes: &mut BTreeMap<_, _> = config.volumes.get_or_insert_default();
            volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => config.working_dir = workdir(&config.working_dir, rest),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "ONBUILD" => config.on_build.get_or_insert_default().push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "" => return Err(invalid("empty change".to_owned())),
        other => return Err(invalid(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

fn invalid(reason: String) -> Error {
    Error::Change { reason }
}

/// `["a","b"]` as words, anything else for the shell.
fn command(text: &str) -> Vec<String> {
    json_words(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn set_env(config: &mut ContainerConfig, key: &str, value: &str) {
    let env = config.env.get_or_insert_default();
    let pair = format!("{key}={value}");
    let is_it = |entry: &&mut String| entry.split('=').next() == Some(key);
    match env.iter_mut().find(is_it) {
        Some(entry) => *entry = pair,
        None => env.push(pair),
    }
}

fn exposed(port: &str) -> Result<String, Error> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let is_number = number.split('-').all(|number| number.parse::<u16>().is_ok());
    if !is_number || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(invalid(format!("invalid containerPort: {port}")));
    }
    Ok(format!("{number}/{protocol}"))
}

fn workdir(now: &str, to: &str) -> String {
    if to.starts_with('/') {
        return to.to_owned();
    }
    format!("{}/{to}", if now.is_empty() { "/" } else { now }).replace("//", "/")
}

/// `NONE`, or options and `CMD ...`.
fn healthcheck(text: &str) -> Result<Healthcheck, Error> {
    if text.eq_ignore_ascii_case("none") {
        let test = Some(vec!["NONE".to_owned()]);
        return Ok(Healthcheck { test, ..Healthcheck::default() });
    }
    let upper = text.to_ascii_uppercase();
    let Some(at) = upper.find("CMD").filter(|at| text[..*at].trim().is_empty()) else {
        return Err(invalid(format!("unsupported HEALTHCHECK change: {text}")));
    };
    let rest = text[at + 3..].trim();
    let test = match json_words(rest) {
        Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
        None => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
    };
    Ok(Healthcheck { test: Some(test), ..Healthcheck::default() })
}

/// `a=b "c d"=e f='g h'`, or the old `key the rest`.
fn pairs(instruction: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let words =
        split(text).ok_or_else(|| invalid(format!("unclosed quote in {instruction}: {text}")))?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| invalid(format!("{instruction} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(invalid(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    words.iter().map(pair).collect()
}

/// Splits at blanks outside quotes and takes the quotes off.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', quote) if quote != Some('\'') => {
                word.get_or_insert_default().push(chars.next()?);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str]) -> Result<ContainerConfig, Error> {
        let mut config = ContainerConfig::default();
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        apply_all(&mut config, &changes)?;
        Ok(config)
    }

    #[test]
    fn commands_are_words_or_for_the_shell() {
        let config = after(&[r#"CMD ["a", "b c"]"#, "entrypoint exec top"]).unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "exec top"]);
    }

    #[test]
    fn env_replaces_and_labels_add() {
        let config = after(&["ENV A=1 B=\"2 3\"", "ENV A 4 5", "LABEL x='y z' w=v"]).unwrap();
        assert_eq!(config.env.unwrap(), ["A=4 5", "B=2 3"]);
        assert_eq!(config.labels.unwrap()["x"], "y z");
    }

    #[test]
    fn the_rest_is_set() {
        let config = after(&[
            "EXPOSE 80 53/udp",
            "VOLUME /data",
            "USER 1000:1000",
            "WORKDIR /a",
            "WORKDIR b",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK CMD true",
        ])
        .unwrap();
        let ports: Vec<_> = config.exposed_ports.unwrap().into_keys().collect();
        assert_eq!(ports, ["53/udp", "80/tcp"]);
        assert!(config.volumes.unwrap().contains_key("/data"));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("1000:1000", "/a/b"));
        assert_eq!(config.healthcheck.unwrap().test.unwrap(), ["CMD-SHELL", "true"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            ["", "RUN true", "ENV", "ENV A", "EXPOSE http", "LABEL a=b c", "ENV A=\"x", "FROM x"]
        {
            assert!(after(&[bad]).is_err(), "{bad}");
        }
        let error = after(&["RUN true"]).unwrap_err();
        assert_eq!(error.to_string(), "RUN is not a valid change command");
    }
}

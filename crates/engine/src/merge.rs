//! What a container inherits from its image (Docker's `merge` rules). Pure.

use std::collections::BTreeMap;

use types::container::{ContainerConfig, Healthcheck};

use crate::{EngineError, Result};

/// Fills what `asked` leaves open from the image's config, and makes the command line sure.
///
/// # Errors
/// `Invalid`: there is nothing to run.
pub(crate) fn merge(
    asked: &ContainerConfig,
    image: Option<&ContainerConfig>,
) -> Result<ContainerConfig> {
    let mut config = asked.clone();
    if let Some(image) = image {
        inherit(&mut config, image);
    }
    // `--entrypoint ""` arrives as [""] and only resets the image's.
    if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
    let words = config.entrypoint.iter().chain(&config.cmd).map(Vec::len).sum::<usize>();
    if words == 0 {
        return Err(EngineError::invalid("no command specified"));
    }
    Ok(config)
}

fn inherit(config: &mut ContainerConfig, image: &ContainerConfig) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    // A given entrypoint drops the image's command, even when no command is given.
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
            config.args_escaped = image.args_escaped;
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    config.env = merge_env(config.env.as_deref(), image.env.as_deref());
    config.exposed_ports = merge_maps(config.exposed_ports.take(), image.exposed_ports.as_ref());
    config.volumes = merge_maps(config.volumes.take(), image.volumes.as_ref());
    config.labels = merge_maps(config.labels.take(), image.labels.as_ref());
    if config.stop_signal.as_ref().is_none_or(String::is_empty) {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
    config.healthcheck = merge_health(config.healthcheck.take(), image.healthcheck.as_ref());
}

/// The image's variables that are not given, then the given ones.
fn merge_env(asked: Option<&[String]>, image: Option<&[String]>) -> Option<Vec<String>> {
    let asked = asked.unwrap_or_default();
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let given: Vec<String> = asked.iter().map(|entry| key(entry)).collect();
    let mut env = asked.to_vec();
    env.extend(image.unwrap_or_default().iter().filter(|e| !given.contains(&key(e))).cloned());
    if env.is_empty() { None } else { Some(env) }
}

fn merge_maps<V: Clone>(
    asked: Option<BTreeMap<String, V>>,
    image: Option<&BTreeMap<String, V>>,
) -> Option<BTreeMap<String, V>> {
    let Some(image) = image else { return asked };
    let mut merged = asked.unwrap_or_default();
    for (key, value) in image {
        merged.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if merged.is_empty() { None } else { Some(merged) }
}

fn merge_health(asked: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let Some(image) = image else { return asked };
    let Some(mut health) = asked else { return Some(image.clone()) };
    if health.test.as_ref().is_none_or(Vec::is_empty) {
        health.test.clone_from(&image.test);
    }
    for (mine, theirs) in [
        (&mut health.interval, image.interval),
        (&mut health.timeout, image.timeout),
        (&mut health.start_period, image.start_period),
        (&mut health.start_interval, image.start_interval),
        (&mut health.retries, image.retries),
    ] {
        if *mine == 0 {
            *mine = theirs;
        }
    }
    Some(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: words("/entry"),
            cmd: words("serve --all"),
            env: words("PATH=/bin A=1"),
            working_dir: "/srv".into(),
            user: "www".into(),
            stop_signal: Some("SIGQUIT".into()),
            labels: Some(BTreeMap::from([
                ("a".into(), "image".into()),
                ("b".into(), "image".into()),
            ])),
            ..ContainerConfig::default()
        }
    }

    fn with(change: impl FnOnce(&mut ContainerConfig)) -> ContainerConfig {
        let mut asked = ContainerConfig::default();
        change(&mut asked);
        merge(&asked, Some(&image())).unwrap()
    }

    #[test]
    fn nothing_asked_is_the_image() {
        let got = with(|_| {});
        assert_eq!(got.entrypoint, words("/entry"));
        assert_eq!(got.cmd, words("serve --all"));
        assert_eq!((got.working_dir.as_str(), got.user.as_str()), ("/srv", "www"));
        assert_eq!(got.stop_signal.as_deref(), Some("SIGQUIT"));
    }

    #[test]
    fn a_command_keeps_the_entrypoint() {
        let got = with(|asked| asked.cmd = words("sh"));
        assert_eq!((got.entrypoint, got.cmd), (words("/entry"), words("sh")));
    }

    #[test]
    fn an_entrypoint_drops_the_images_command() {
        let got = with(|asked| asked.entrypoint = words("/mine"));
        assert_eq!((got.entrypoint, got.cmd), (words("/mine"), None));
    }

    #[test]
    fn an_empty_entrypoint_resets_the_images() {
        let got = with(|asked| {
            asked.entrypoint = Some(vec![String::new()]);
            asked.cmd = words("sh");
        });
        assert_eq!((got.entrypoint, got.cmd), (None, words("sh")));
    }

    #[test]
    fn asked_variables_and_labels_win() {
        let got = with(|asked| {
            asked.env = words("A=2 B");
            asked.labels = Some(BTreeMap::from([("a".into(), "asked".into())]));
        });
        assert_eq!(got.env, words("A=2 B PATH=/bin"));
        let labels = got.labels.unwrap();
        assert_eq!((labels["a"].as_str(), labels["b"].as_str()), ("asked", "image"));
    }

    #[test]
    fn nothing_to_run_is_refused() {
        let error = merge(&ContainerConfig::default(), None).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }
}

//! What `--details` shows: the labels and environment variables that the log's options name.

use std::collections::BTreeMap;

use crate::view::ContainerView;

/// `key=value,key=value`, sorted, escaped as in a URL's query, and a space; only the space if there are none.
pub(super) fn of(view: &ContainerView) -> Vec<u8> {
    let options = &view.host_config.log_config.config;
    let asked = |key: &str| -> Vec<&str> {
        let list = options.get(key).map(String::as_str).unwrap_or_default();
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    let mut found = BTreeMap::new();
    for name in asked("labels") {
        if let Some(value) = view.config.labels.as_ref().and_then(|labels| labels.get(name)) {
            found.insert(name, value.as_str());
        }
    }
    let variables = view.config.env.iter().flatten();
    let variables: BTreeMap<&str, &str> = variables.filter_map(|v| v.split_once('=')).collect();
    for name in asked("env") {
        if let Some(value) = variables.get(name) {
            found.insert(name, value);
        }
    }
    line(&found)
}

fn line(attributes: &BTreeMap<&str, &str>) -> Vec<u8> {
    let mut line = Vec::new();
    for (key, value) in attributes {
        if !line.is_empty() {
            line.push(b',');
        }
        escape(key, &mut line);
        line.push(b'=');
        escape(value, &mut line);
    }
    line.push(b' ');
    line
}

/// Go's `url.QueryEscape`.
fn escape(text: &str, line: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => line.push(byte),
            b' ' => line.push(b'+'),
            _ => line.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_one_word() {
        let all = BTreeMap::from([("b", "x y"), ("a", "1,2=ä")]);
        assert_eq!(line(&all), b"a=1%2C2%3D%C3%A4,b=x+y ");
        assert_eq!(line(&BTreeMap::new()), b" ");
    }
}

//! Which devices the container may use: `devices.allow` and `devices.deny` on version 1, an eBPF program on version 2.

use sys::cgroup::Group;
use sys::ebpf::{self, DeviceKind};
use types::oci::runtime::{DeviceRule, Resources};

use crate::error::{Result, cgroup_step, step};

/// The devices that every container has (OCI runtime-spec config-linux.md#default-devices) and the making of nodes, which alone gives no access.
fn default_rules() -> Vec<DeviceRule> {
    let rule = |major, minor, access: &str| DeviceRule {
        allow: true,
        kind: "c".into(),
        major,
        minor,
        access: access.into(),
    };
    let mut rules =
        vec![rule(None, None, "m"), DeviceRule { kind: "b".into(), ..rule(None, None, "m") }];
    for (major, minor) in [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2)] {
        rules.push(rule(Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(Some(136), None, "rwm"));
    rules
}

/// Returns the rules in the shortest form, of which later ones outweigh earlier ones: first one for all devices (a denial, if the
/// configuration has none), then the configured and after them the default ones. Access that is allowed bit by bit to the same
/// devices is allowed together, as version 1 does it.
pub(super) fn rules(resources: &Resources) -> Vec<DeviceRule> {
    let mut rules = resources.devices.clone();
    rules.extend(default_rules());
    // Everything before a rule for all devices is without effect.
    match rules.iter().rposition(is_all) {
        Some(last) => drop(rules.drain(..last)),
        None => rules.insert(0, DeviceRule { kind: "a".into(), ..DeviceRule::default() }),
    }
    let mut short: Vec<DeviceRule> = Vec::new();
    for rule in rules {
        let everything = short.first().is_some_and(|all| all.allow);
        let restricted = short.iter().any(|rule| !rule.allow);
        if rule.allow && everything && !restricted {
            continue;
        }
        // Only as far back as nothing was denied in between.
        let since =
            short.iter().rposition(|other| other.allow != rule.allow).map_or(0, |at| at + 1);
        match short[since..].iter_mut().find(|other| !is_all(other) && same_devices(other, &rule)) {
            Some(other) => merge(&mut other.access, &rule.access),
            None => short.push(rule),
        }
    }
    short
}

/// Tells whether nothing is denied.
pub(super) fn is_unrestricted(rules: &[DeviceRule]) -> bool {
    rules.iter().all(|rule| rule.allow)
}

fn same_devices(one: &DeviceRule, other: &DeviceRule) -> bool {
    one.kind == other.kind
        && number(one.major) == number(other.major)
        && number(one.minor) == number(other.minor)
}

fn merge(access: &mut String, more: &str) {
    let all = |text: &str| text.is_empty();
    if all(access) || all(more) {
        "rwm".clone_into(access);
        return;
    }
    for letter in more.chars().filter(|letter| !access.contains(*letter)).collect::<Vec<_>>() {
        access.push(letter);
    }
}

pub(super) fn is_all(rule: &DeviceRule) -> bool {
    matches!(rule.kind.as_str(), "" | "a")
        && number(rule.major).is_none()
        && number(rule.minor).is_none()
}

/// A negative number stands for all, like none.
pub(super) fn number(value: Option<i64>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

pub(super) fn apply(group: &Group, resources: &Resources) -> Result<()> {
    let rules = rules(resources);
    if group.is_version_2() {
        return apply_version_2(group, &rules);
    }
    if group.places().iter().all(|place| !place.has("devices")) {
        return Ok(());
    }
    // What lies above may not have everything to give.
    let everything = Some("a *:* rwm");
    if is_unrestricted(&rules) && group.read("devices", "devices.list").as_deref() == everything {
        return Ok(());
    }
    // One opened file for each run of rules that allow or that deny.
    rules.chunk_by(|one, next| one.allow == next.allow).try_for_each(|run| {
        let file = if run[0].allow { "devices.allow" } else { "devices.deny" };
        let lines: Vec<String> = run.iter().map(line).collect();
        let lines = lines.iter().map(String::as_str);
        group.write_each("devices", file, lines).map_err(cgroup_step("set a device rule"))
    })
}

/// The rule in the words of version 1: `c 1:3 rwm`.
pub(super) fn line(rule: &DeviceRule) -> String {
    if is_all(rule) {
        return "a".into();
    }
    let text = |value| number(value).map_or("*".to_owned(), |value| value.to_string());
    let access: String = rule.access.chars().filter(|letter| "rwm".contains(*letter)).collect();
    let access = if access.is_empty() { "rwm" } else { &access };
    format!("{} {}:{} {access}", rule.kind, text(rule.major), text(rule.minor))
}

fn apply_version_2(group: &Group, rules: &[DeviceRule]) -> Result<()> {
    let directory = group.open_unified().map_err(cgroup_step("open the cgroup"))?;
    let Some(directory) = directory else { return Ok(()) };
    if is_unrestricted(rules) {
        // A program that lets everything pass would only cost time.
        return ebpf::detach(directory).map_err(step("detach the device program"));
    }
    let rules: Vec<ebpf::DeviceRule> = rules.iter().map(compiled).collect();
    let program = ebpf::load(&ebpf::compile(&rules)).map_err(step("load the device program"))?;
    ebpf::attach(directory, program).map_err(step("attach the device program"))
}

fn compiled(rule: &DeviceRule) -> ebpf::DeviceRule {
    let kind = match rule.kind.as_str() {
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Character,
        _ => DeviceKind::All,
    };
    let letters = [('m', 1), ('r', 2), ('w', 4)];
    let access = letters
        .iter()
        .filter(|(letter, _)| rule.access.contains(*letter))
        .map(|(_, bit)| bit)
        .sum();
    ebpf::DeviceRule {
        allow: rule.allow,
        kind,
        major: number(rule.major),
        minor: number(rule.minor),
        access: if access == 0 || is_all(rule) { 7 } else { access },
    }
}

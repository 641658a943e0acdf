//! Pressure stall information: how long tasks of a group waited (Documentation/accounting/psi.rst, Linux 4.20).

use std::path::Path;
use std::time::Duration;

/// How much a group waits for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// The time in which some task waited.
    pub some: PressureLine,
    /// The time in which all tasks waited.
    pub full: PressureLine,
}

/// One line: parts of the last 10, 60 and 300 seconds in percent, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureLine {
    /// Percent of the last 10 seconds.
    pub average_10: f64,
    /// Percent of the last 60 seconds.
    pub average_60: f64,
    /// Percent of the last 300 seconds.
    pub average_300: f64,
    /// All of it.
    pub total: Duration,
}

/// Reads a file such as `cpu.pressure`; `None` where the kernel does not measure.
pub(super) fn read(file: &Path) -> Option<Pressure> {
    parse(&std::fs::read_to_string(file).ok()?)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and perhaps the same for `full`.
pub(super) fn parse(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    let mut found = false;
    for line in text.lines() {
        let (name, values) = line.split_once(' ')?;
        let one = match name {
            "some" => &mut pressure.some,
            "full" => &mut pressure.full,
            _ => continue,
        };
        found = true;
        for (key, value) in values.split(' ').filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => one.average_10 = value.parse().ok()?,
                "avg60" => one.average_60 = value.parse().ok()?,
                "avg300" => one.average_300 = value.parse().ok()?,
                "total" => one.total = Duration::from_micros(value.parse().ok()?),
                _ => {}
            }
        }
    }
    found.then_some(pressure)
}

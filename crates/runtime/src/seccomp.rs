//! A seccomp profile (OCI runtime-spec config-linux.md#seccomp) compiled to classic BPF, without libseccomp.
//!
//! ```text
//! load the architecture; for each known one:
//!     load the number; binary search over ranges of numbers with the same answer
//!         range -> an action, or a chain of argument tests with an action each, then the default action
//!         above the newest call that the profile names -> ENOSYS, so that programs fall back (as runc does)
//! any other architecture -> kill
//! ```
//! Meaning of rules for one call, as libseccomp has it: a rule without arguments outweighs those with; rules with arguments are tried
//! in order; several tests of the *same* argument in one rule are alternatives, of different arguments all must hold.

mod compile;
mod table;
#[cfg(test)]
mod tests;

use sys::seccomp::{FilterFlags, Instruction};
use types::oci::runtime::{Seccomp, SeccompArg};

use crate::error::{Error, Result};

/// A filter ready to load.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// The flags for seccomp(2).
    pub flags: FilterFlags,
    /// Where the listener for notifications goes; empty without any.
    pub listener_path: String,
    /// What goes with it.
    pub listener_metadata: String,
    /// Whether a rule notifies: without the listener such calls would hang.
    pub notifies: bool,
}

/// The architectures whose numbers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
}

impl Arch {
    fn native() -> Self {
        if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
    }

    /// `AUDIT_ARCH_*`; x32 shares that of x86-64 and is told apart by a bit of the number.
    fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
        }
    }

    fn number(self, call: Call) -> Option<u32> {
        if self == Arch::X32
            && let Some(row) = call.x32
        {
            return u32::try_from(table::X32_CALLS[row].1).ok();
        }
        let (_, x86_64, x86, aarch64) = table::CALLS[call.row];
        let number = match self {
            Arch::X86_64 | Arch::X32 => x86_64,
            Arch::X86 => x86,
            Arch::Aarch64 => aarch64,
        };
        u32::try_from(number).ok()
    }
}

/// A system call by its places in the tables: it is looked up once for all architectures.
#[derive(Clone, Copy, Debug)]
struct Call {
    row: usize,
    x32: Option<usize>,
}

impl Call {
    /// `None` for a name that nobody knows: such are skipped, profiles are written for newer kernels.
    fn named(name: &str) -> Option<Self> {
        let row = table::CALLS.binary_search_by_key(&name, |(known, ..)| known).ok()?;
        let x32 = table::X32_CALLS.binary_search_by_key(&name, |(known, _)| known).ok();
        Some(Self { row, x32 })
    }
}

/// The architectures that a profile may name. One that this machine cannot run has no calls to filter; any call of an architecture
/// that is not in the program ends the process.
pub(crate) const ARCHES: [(&str, Option<Arch>); 22] = [
    ("SCMP_ARCH_AARCH64", Some(Arch::Aarch64)),
    ("SCMP_ARCH_ARM", None),
    ("SCMP_ARCH_LOONGARCH64", None),
    ("SCMP_ARCH_M68K", None),
    ("SCMP_ARCH_MIPS", None),
    ("SCMP_ARCH_MIPS64", None),
    ("SCMP_ARCH_MIPS64N32", None),
    ("SCMP_ARCH_MIPSEL", None),
    ("SCMP_ARCH_MIPSEL64", None),
    ("SCMP_ARCH_MIPSEL64N32", None),
    ("SCMP_ARCH_PARISC", None),
    ("SCMP_ARCH_PARISC64", None),
    ("SCMP_ARCH_PPC", None),
    ("SCMP_ARCH_PPC64", None),
    ("SCMP_ARCH_PPC64LE", None),
    ("SCMP_ARCH_RISCV64", None),
    ("SCMP_ARCH_S390", None),
    ("SCMP_ARCH_S390X", None),
    ("SCMP_ARCH_SH", None),
    ("SCMP_ARCH_X32", Some(Arch::X32)),
    ("SCMP_ARCH_X86", Some(Arch::X86)),
    ("SCMP_ARCH_X86_64", Some(Arch::X86_64)),
];

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    index: u32,
    compare: Compare,
    value: u64,
    value_two: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `argument & value == value_two`.
    Masked,
}

/// What the kernel shall answer, `SECCOMP_RET_*`.
pub(crate) type Action = u32;

const KILL_PROCESS: Action = 0x8000_0000;
const KILL_THREAD: Action = 0;
const TRAP: Action = 0x0003_0000;
const ERRNO: Action = 0x0005_0000;
const NOTIFY: Action = 0x7fc0_0000;
const LOG: Action = 0x7ffc_0000;
const TRACE: Action = 0x7ff0_0000;
const ALLOW: Action = 0x7fff_0000;

const EPERM: u32 = 1;

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Config(text))
}

/// The actions by name.
pub(crate) const ACTIONS: [(&str, Action); 9] = [
    ("SCMP_ACT_ALLOW", ALLOW),
    ("SCMP_ACT_ERRNO", ERRNO),
    ("SCMP_ACT_KILL", KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", KILL_THREAD),
    ("SCMP_ACT_LOG", LOG),
    ("SCMP_ACT_NOTIFY", NOTIFY),
    ("SCMP_ACT_TRACE", TRACE),
    ("SCMP_ACT_TRAP", TRAP),
];

/// The comparisons by name.
pub(crate) const OPERATORS: [(&str, Compare); 7] = [
    ("SCMP_CMP_EQ", Compare::Equal),
    ("SCMP_CMP_GE", Compare::GreaterOrEqual),
    ("SCMP_CMP_GT", Compare::Greater),
    ("SCMP_CMP_LE", Compare::LessOrEqual),
    ("SCMP_CMP_LT", Compare::Less),
    ("SCMP_CMP_MASKED_EQ", Compare::Masked),
    ("SCMP_CMP_NE", Compare::NotEqual),
];

/// The flags by name. `TSYNC` is about other threads, of which there are none when the filter is loaded.
pub(crate) const FLAGS: [(&str, FilterFlags); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", FilterFlags::LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FilterFlags::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", FilterFlags::empty()),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FilterFlags::WAIT_KILLABLE_RECV),
];

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// `errnoRet` with an action that has no use for it is an error (runtime-spec config-linux.md#seccomp).
fn action(name: &str, errno: Option<u32>) -> Result<Action> {
    let Some(action) = find(&ACTIONS, name) else {
        return invalid(format!("seccomp action {name:?} is unknown"));
    };
    match errno {
        _ if matches!(action, ERRNO | TRACE) => Ok(action | (errno.unwrap_or(EPERM) & 0xffff)),
        Some(_) => invalid(format!("seccomp action {name:?} does not take an errnoRet")),
        None => Ok(action),
    }
}

fn test(arg: &SeccompArg) -> Result<Test> {
    if arg.index > 5 {
        return invalid(format!("seccomp argument index {} is above 5", arg.index));
    }
    let Some(compare) = find(&OPERATORS, &arg.op) else {
        return invalid(format!("seccomp operator {:?} is unknown", arg.op));
    };
    Ok(Test { index: arg.index, compare, value: arg.value, value_two: arg.value_two })
}

/// One rule: the calls, the tests (alternatives of conjunctions), the action.
#[derive(Debug)]
pub(crate) struct Rule<'a> {
    names: &'a [String],
    calls: Vec<Call>,
    alternatives: Vec<Vec<Test>>,
    action: Action,
}

fn rules(profile: &Seccomp) -> Result<Vec<Rule<'_>>> {
    let mut rules = Vec::with_capacity(profile.syscalls.len());
    for rule in &profile.syscalls {
        if rule.names.is_empty() {
            return invalid("seccomp: a rule needs at least one system call".into());
        }
        let action = action(&rule.action, rule.errno_ret)?;
        let tests = rule.args.iter().map(test).collect::<Result<Vec<Test>>>()?;
        let repeated = tests
            .iter()
            .enumerate()
            .any(|(at, test)| tests[..at].iter().any(|other| other.index == test.index));
        let alternatives = match (tests.is_empty(), repeated) {
            (true, _) => Vec::new(),
            (false, true) => tests.into_iter().map(|test| vec![test]).collect(),
            (false, false) => vec![tests],
        };
        let calls = rule.names.iter().filter_map(|name| Call::named(name)).collect();
        rules.push(Rule { names: &rule.names, calls, alternatives, action });
    }
    Ok(rules)
}

fn flags(profile: &Seccomp, notifies: bool) -> Result<FilterFlags> {
    // runc's default where the profile has none: the filter alone is no reason to slow the process down.
    let Some(names) = &profile.flags else {
        let listener = if notifies { FilterFlags::NEW_LISTENER } else { FilterFlags::empty() };
        return Ok(FilterFlags::SPEC_ALLOW | listener);
    };
    let mut flags = FilterFlags::empty();
    for name in names {
        let Some(flag) = find(&FLAGS, name) else {
            return invalid(format!("seccomp flag {name:?} is unknown"));
        };
        flags |= flag;
    }
    if notifies {
        flags |= FilterFlags::NEW_LISTENER;
    } else {
        flags.remove(FilterFlags::WAIT_KILLABLE_RECV);
    }
    Ok(flags)
}

fn arches(profile: &Seccomp) -> Result<Vec<Arch>> {
    let mut arches = vec![Arch::native()];
    for name in &profile.architectures {
        let Some(arch) = find(&ARCHES, name) else {
            return invalid(format!("seccomp architecture {name:?} is unknown"));
        };
        arches.extend(arch.filter(|arch| !arches.contains(arch)));
    }
    Ok(arches)
}

/// Compiles a profile for the architectures it names, and always for that of this machine.
///
/// # Errors
/// [`Error::Config`] for unknown words and a program that is too long for the kernel.
pub fn compile(profile: &Seccomp) -> Result<Filter> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let rules = rules(profile)?;
    let notifies = rules.iter().any(|rule| rule.action == NOTIFY);
    if default == NOTIFY {
        return invalid("SCMP_ACT_NOTIFY cannot be used as default action".into());
    }
    if notifies && profile.listener_path.is_empty() {
        return invalid("seccomp: SCMP_ACT_NOTIFY needs a listenerPath".into());
    }
    if profile.listener_path.is_empty() && !profile.listener_metadata.is_empty() {
        return invalid("seccomp: listenerMetadata without listenerPath".into());
    }
    let write = "write".to_owned();
    if rules.iter().any(|rule| rule.action == NOTIFY && rule.names.contains(&write)) {
        return invalid("SCMP_ACT_NOTIFY cannot be used for the write syscall".into());
    }
    let arches = arches(profile)?;
    let program = compile::program(&arches, &rules, default);
    if program.len() > 4096 {
        return invalid(format!(
            "the seccomp profile needs {} instructions, 4096 are allowed",
            program.len()
        ));
    }
    Ok(Filter {
        program,
        // Who names a listener hears of it, whether or not a rule notifies.
        flags: flags(profile, !profile.listener_path.is_empty())?,
        notifies,
        listener_path: profile.listener_path.clone(),
        listener_metadata: profile.listener_metadata.clone(),
    })
}

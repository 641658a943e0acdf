use super::*;
use types::oci::runtime::SeccompRule;

/// Runs a filter as the kernel would.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => number,
        4 => arch,
        offset => {
            let at = (offset - 16) / 8;
            let value = args[at as usize];
            if (offset - 16) % 8 == 0 { value as u32 } else { (value >> 32) as u32 }
        }
    };
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let step = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
        match step.code {
            0x20 => a = load(step.k),
            0x54 => a &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(a == step.k),
            0x25 => at += jump(a > step.k),
            0x35 => at += jump(a >= step.k),
            0x06 => return step.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

fn number_on(arch: Arch, name: &str) -> Option<u32> {
    arch.number(Call::named(name)?)
}

#[test]
fn the_tables_are_sorted_by_name() {
    assert!(table::CALLS.is_sorted_by_key(|(name, ..)| *name));
    assert!(table::X32_CALLS.is_sorted_by_key(|(name, _)| *name));
}

fn rule(names: &[&str], action: &str, args: Vec<SeccompArg>) -> SeccompRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    SeccompRule { names, action: action.into(), args, ..SeccompRule::default() }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> SeccompArg {
    SeccompArg { index, value, value_two, op: op.into() }
}

fn profile(syscalls: Vec<SeccompRule>) -> Seccomp {
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        architectures: vec!["SCMP_ARCH_X86_64".into(), "SCMP_ARCH_X86".into()],
        syscalls,
        ..Seccomp::default()
    }
}

fn number(name: &str) -> u32 {
    number_on(Arch::X86_64, name).unwrap()
}

#[test]
fn the_table_is_sorted_and_right() {
    assert!(table::CALLS.is_sorted_by_key(|(name, ..)| name));
    assert_eq!(number_on(Arch::X86_64, "execve"), Some(59));
    assert_eq!(number_on(Arch::X86, "execve"), Some(11));
    assert_eq!(number_on(Arch::X32, "execve"), Some(520));
    assert_eq!(number_on(Arch::Aarch64, "execve"), Some(221));
    assert_eq!(number_on(Arch::Aarch64, "newfstatat"), Some(79));
    assert_eq!(number_on(Arch::X86_64, "clone3"), Some(435));
    assert_eq!(number_on(Arch::X86_64, "no_such_call"), None);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_list_of_names_allows_those_and_no_other() {
    let names: Vec<&str> = table::CALLS.iter().step_by(2).map(|(name, ..)| *name).collect();
    let filter = compile(&profile(vec![rule(&names, "SCMP_ACT_ALLOW", vec![])])).unwrap();
    let newest = names.iter().filter_map(|name| number_on(Arch::X86_64, name)).max().unwrap();
    for nr in 0..600 {
        let allowed = names.iter().any(|name| number_on(Arch::X86_64, name) == Some(nr));
        let want = match (allowed, nr > newest) {
            (true, _) => ALLOW,
            (false, false) => ERRNO | 1,
            (false, true) => ERRNO | 38,
        };
        assert_eq!(run(&filter.program, X86_64, nr, [0; 6]), want, "call {nr}");
    }
    for name in &names {
        if let Some(nr) = number_on(Arch::X86, name) {
            assert_eq!(run(&filter.program, I386, nr, [0; 6]), ALLOW, "i386 {name}");
        }
    }
    assert_eq!(run(&filter.program, 1, 0, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&filter.program, X86_64, 0x4000_0000, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&filter.program, X86_64, u32::MAX, [0; 6]), ERRNO | 1);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn every_comparison_of_64_bits() {
    let values = [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX - 1, u64::MAX];
    type Holds = fn(u64, u64) -> bool;
    let operators: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |a, b| a == b),
        ("SCMP_CMP_NE", |a, b| a != b),
        ("SCMP_CMP_LT", |a, b| a < b),
        ("SCMP_CMP_LE", |a, b| a <= b),
        ("SCMP_CMP_GT", |a, b| a > b),
        ("SCMP_CMP_GE", |a, b| a >= b),
    ];
    for (op, holds) in operators {
        for against in values {
            let rules = vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![arg(2, op, against, 0)])];
            let filter = compile(&profile(rules)).unwrap();
            for value in values {
                let got = run(&filter.program, X86_64, 0, [9, 9, value, 9, 9, 9]);
                let want = if holds(value, against) { ALLOW } else { ERRNO | 1 };
                assert_eq!(got, want, "{value:#x} {op} {against:#x}");
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn masks_conjunctions_and_alternatives() {
    let filter = compile(&profile(vec![
        rule(&["clone"], "SCMP_ACT_ALLOW", vec![arg(0, "SCMP_CMP_MASKED_EQ", 0x7e02_0000, 0)]),
        rule(
            &["socket"],
            "SCMP_ACT_ALLOW",
            vec![arg(0, "SCMP_CMP_EQ", 1, 0), arg(1, "SCMP_CMP_EQ", 2, 0)],
        ),
        rule(
            &["personality"],
            "SCMP_ACT_ALLOW",
            vec![arg(0, "SCMP_CMP_EQ", 0, 0), arg(0, "SCMP_CMP_EQ", 8, 0)],
        ),
        rule(&["kill"], "SCMP_ACT_KILL_PROCESS", vec![arg(1, "SCMP_CMP_EQ", 9, 0)]),
        rule(&["kill"], "SCMP_ACT_ALLOW", vec![]),
        SeccompRule { errno_ret: Some(38), ..rule(&["clone3"], "SCMP_ACT_ERRNO", vec![]) },
    ]))
    .unwrap();
    let call =
        |name: &str, a: u64, b: u64| run(&filter.program, X86_64, number(name), [a, b, 0, 0, 0, 0]);
    assert_eq!(call("clone", 0x11, 0), ALLOW);
    assert_eq!(call("clone", 0x1000_0011, 0), ERRNO | 1);
    assert_eq!(call("socket", 1, 2), ALLOW);
    assert_eq!(call("socket", 1, 3), ERRNO | 1);
    assert_eq!(call("personality", 8, 0), ALLOW);
    assert_eq!(call("personality", 0, 0), ALLOW);
    assert_eq!(call("personality", 7, 0), ERRNO | 1);
    assert_eq!(call("kill", 1, 9), ALLOW, "a rule without arguments outweighs");
    assert_eq!(call("clone3", 0, 0), ERRNO | 38);
    assert_eq!(call("mseal", 0, 0), ERRNO | 38, "newer than the profile");
}

#[test]
fn nonsense_is_refused() {
    assert!(compile(&profile(vec![rule(&["read"], "SCMP_ACT_MAYBE", vec![])])).is_err());
    assert!(
        compile(&profile(vec![rule(
            &["read"],
            "SCMP_ACT_ALLOW",
            vec![arg(6, "SCMP_CMP_EQ", 0, 0)]
        )]))
        .is_err()
    );
    assert!(
        compile(&profile(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![arg(0, "==", 0, 0)])]))
            .is_err()
    );
    let unheard = profile(vec![rule(&["read"], "SCMP_ACT_NOTIFY", vec![])]);
    assert!(compile(&unheard).unwrap_err().to_string().contains("listenerPath"));
    assert_eq!(compile(&profile(vec![])).unwrap().flags, FilterFlags::SPEC_ALLOW);
    let empty = Seccomp { flags: Some(vec![]), ..profile(vec![]) };
    assert_eq!(compile(&empty).unwrap().flags, FilterFlags::empty());
    let flag = Seccomp { flags: Some(vec!["X".into()]), ..profile(vec![]) };
    assert!(compile(&flag).is_err());
}

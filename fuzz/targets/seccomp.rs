//! Builds a profile of the input, compiles it, runs the filter as the kernel would, and compares each verdict with what the rules say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sys::seccomp::Instruction;
use types::oci::runtime::{Seccomp, SeccompArg, SeccompRule};

const ACTIONS: [(&str, u32); 7] = [
    ("SCMP_ACT_ALLOW", 0x7fff_0000),
    ("SCMP_ACT_ERRNO", 0x0005_0000),
    ("SCMP_ACT_KILL", 0),
    ("SCMP_ACT_KILL_PROCESS", 0x8000_0000),
    ("SCMP_ACT_LOG", 0x7ffc_0000),
    ("SCMP_ACT_TRACE", 0x7ff0_0000),
    ("SCMP_ACT_TRAP", 0x0003_0000),
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];

const ARCHES: [(&str, u32); 4] = [
    ("SCMP_ARCH_X86_64", 0xc000_003e),
    ("SCMP_ARCH_X86", 0x4000_0003),
    ("SCMP_ARCH_X32", 0xc000_003e),
    ("SCMP_ARCH_AARCH64", 0xc000_00b7),
];

const X32_BIT: u32 = 0x4000_0000;

/// System calls with their numbers on x86-64, x86, x32 and aarch64, from the kernel's tables; -1 where there is none.
const CALLS: [(&str, [i32; 4]); 14] = [
    ("read", [0, 3, 0, 63]),
    ("write", [1, 4, 1, 64]),
    ("open", [2, 5, 2, -1]),
    ("close", [3, 6, 3, 57]),
    ("mmap", [9, 90, 9, 222]),
    ("ioctl", [16, 54, 514, 29]),
    ("socket", [41, 359, 41, 198]),
    ("clone", [56, 120, 56, 220]),
    ("ptrace", [101, 26, 521, 117]),
    ("personality", [135, 136, 135, 92]),
    ("openat", [257, 295, 257, 56]),
    ("clone3", [435, 435, 435, 435]),
    ("openat2", [437, 437, 437, 437]),
    ("no_such_call", [-1, -1, -1, -1]),
];

/// Takes numbers off the input; at its end they are 0.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    /// Small, around a border of 32 bits, or any.
    fn value(&mut self) -> u64 {
        let kind = self.byte();
        let small = self.byte() as u64;
        match kind % 6 {
            0 => small,
            1 => (1 << 32) + small,
            2 => (1 << 32) - 1 - small,
            3 => u64::MAX - small,
            4 => small << 32,
            _ => (0..8).fold(0, |value, _| value << 8 | self.byte() as u64),
        }
    }
}

fn profile(input: &mut Input<'_>) -> Seccomp {
    let action = |byte: usize| ACTIONS[byte % ACTIONS.len()].0.to_owned();
    let errno = |action: &str, byte: usize| {
        let takes = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
        (takes && byte > 9).then_some(byte as u32)
    };
    let default_action = action(input.byte());
    let mut profile = Seccomp {
        default_errno_ret: errno(&default_action, input.byte()),
        default_action,
        ..Seccomp::default()
    };
    let arches = input.byte();
    for (at, (name, _)) in ARCHES.iter().enumerate() {
        if arches >> at & 1 == 1 {
            profile.architectures.push((*name).to_owned());
        }
    }
    for _ in 0..input.byte() % 12 {
        let mut rule = SeccompRule { action: action(input.byte()), ..SeccompRule::default() };
        rule.errno_ret = errno(&rule.action, input.byte());
        for _ in 0..=input.byte() % 4 {
            rule.names.push(CALLS[input.byte() % CALLS.len()].0.to_owned());
        }
        for _ in 0..input.byte() % 4 {
            let (index, op) = (input.byte() as u32 % 6, OPERATORS[input.byte() % 7].to_owned());
            let (value, value_two) = (input.value(), input.value());
            rule.args.push(SeccompArg { index, value, value_two, op });
        }
        profile.syscalls.push(rule);
    }
    profile
}

/// `struct seccomp_data`.
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            _ => {
                let at = (offset - 16) as usize;
                let (index, high) = (at / 8, at % 8 == 4);
                (if high { self.args[index] >> 32 } else { self.args[index] }) as u32
            }
        }
    }
}

/// Runs classic BPF with the checks that the kernel makes when it is loaded.
fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let step = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
        match step.code {
            0x20 => {
                assert!(step.k % 4 == 0 && step.k < 64, "the kernel refuses this load");
                accumulator = call.word(step.k);
            }
            0x54 => accumulator &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn code(action: &str, errno: Option<u32>) -> u32 {
    let code = ACTIONS.iter().find(|(name, _)| *name == action).map_or(0, |(_, code)| *code);
    match action {
        "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => code | errno.unwrap_or(1),
        _ => code,
    }
}

fn holds(test: &SeccompArg, args: &[u64; 6]) -> bool {
    let given = args[test.index as usize];
    match test.op.as_str() {
        "SCMP_CMP_EQ" => given == test.value,
        "SCMP_CMP_NE" => given != test.value,
        "SCMP_CMP_LT" => given < test.value,
        "SCMP_CMP_LE" => given <= test.value,
        "SCMP_CMP_GT" => given > test.value,
        "SCMP_CMP_GE" => given >= test.value,
        _ => given & test.value == test.value_two,
    }
}

/// The rules in words: one without arguments outweighs those with; the first of those with arguments that holds decides; tests of one
/// argument twice are alternatives; a rule that says what the default says is none.
fn expected(profile: &Seccomp, column: usize, number: u32, args: &[u64; 6]) -> u32 {
    let default = code(&profile.default_action, profile.default_errno_ret);
    let number_of = |name: &String| {
        let call = CALLS.iter().find(|(known, _)| known == name);
        call.and_then(|(_, numbers)| u32::try_from(numbers[column]).ok())
    };
    let all = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(number_of);
    let newest = all.max();
    let about = |rule: &&SeccompRule| {
        rule.names.iter().any(|name| number_of(name) == Some(number))
            && code(&rule.action, rule.errno_ret) != default
    };
    let rules: Vec<_> = profile.syscalls.iter().filter(about).collect();
    if let Some(rule) = rules.iter().find(|rule| rule.args.is_empty()) {
        return code(&rule.action, rule.errno_ret);
    }
    for rule in rules {
        let mut indices: Vec<u32> = rule.args.iter().map(|test| test.index).collect();
        indices.sort_unstable();
        let repeated = indices.windows(2).any(|pair| pair[0] == pair[1]);
        let hit = if repeated {
            rule.args.iter().any(|test| holds(test, args))
        } else {
            rule.args.iter().all(|test| holds(test, args))
        };
        if hit {
            return code(&rule.action, rule.errno_ret);
        }
    }
    let permissive = matches!(default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
    if newest.is_some_and(|newest| number > newest) && !permissive { 0x0005_0000 | 38 } else { default }
}

fn check(profile: &Seccomp, program: &[Instruction], column: usize, number: u32, args: [u64; 6]) {
    let arch = ARCHES[column].1;
    let x32 = column == 2;
    let call = Call { arch, number: if x32 { number | X32_BIT } else { number }, args };
    let known = column == 0 || profile.architectures.iter().any(|name| name == ARCHES[column].0);
    let want = match known {
        true => expected(profile, column, number, &args),
        false => 0x8000_0000,
    };
    let got = run(program, &call);
    assert_eq!(got, want, "{}: call {number} {args:x?}: {profile:?}", ARCHES[column].0);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let profile = profile(&mut input);
    let Ok(filter) = runtime::seccomp::compile(&profile) else { return };
    let mut interesting = vec![0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for test in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [test.value, test.value_two] {
            interesting.extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
        }
    }
    for column in 0..4 {
        for (_, numbers) in &CALLS {
            let Ok(number) = u32::try_from(numbers[column]) else { continue };
            for round in 0..4 {
                let args = std::array::from_fn(|at| {
                    interesting[(input.byte() + at * round + round) % interesting.len()]
                });
                for number in [number, number + 1, number.saturating_sub(1)] {
                    check(&profile, &filter.program, column, number, args);
                }
            }
        }
        check(&profile, &filter.program, column, 600, [0; 6]);
    }
});

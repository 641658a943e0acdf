//! From rules to instructions.

use sys::seccomp::Instruction;

use super::{ALLOW, Action, Arch, Compare, ERRNO, KILL_PROCESS, LOG, Rule, TRACE, Test};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_GREATER_OR_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// `struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }`
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// The bit of a call number that makes it an x32 one.
const X32_BIT: u32 = 0x4000_0000;

const ENOSYS: u32 = 38;

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// `if (accumulator OP k) skip yes else skip no`.
fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// A piece of code that ends in a return on every way.
type Block = Vec<Instruction>;

/// `if (accumulator OP k) { yes } else { no }` for blocks of any length.
fn choose(code: u16, k: u32, yes: Block, no: Block) -> Block {
    let mut block = Vec::with_capacity(yes.len() + no.len() + 2);
    match u8::try_from(no.len()) {
        Ok(skip) => block.push(branch(code, k, skip, 0)),
        Err(_) => {
            // Conditional jumps reach 255 instructions, the unconditional one any distance.
            block.push(branch(code, k, 0, 1));
            block.push(plain(JUMP, u32::try_from(no.len()).unwrap_or(u32::MAX)));
        }
    }
    block.extend(no);
    block.extend(yes);
    block
}

/// What one call number gets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Plain(Action),
    Chain(Vec<(Vec<Test>, Action)>),
}

/// The whole program.
pub(super) fn program(arches: &[Arch], rules: &[Rule<'_>], default: Action) -> Block {
    let mut block = vec![plain(RETURN, KILL_PROCESS)];
    for arch in arches.iter().rev().filter(|arch| **arch != Arch::X32) {
        let mut own = vec![plain(LOAD, OFFSET_NUMBER)];
        let search = compile_arch(*arch, rules, default);
        if *arch == Arch::X86_64 {
            let x32 = if arches.contains(&Arch::X32) {
                x32_block(rules, default)
            } else {
                vec![plain(RETURN, KILL_PROCESS)]
            };
            // -1 is what a tracer leaves of a call that shall not happen.
            let other = choose(JUMP_EQUAL, u32::MAX, vec![plain(RETURN, default)], x32);
            own.extend(choose(JUMP_GREATER_OR_EQUAL, X32_BIT, other, search));
        } else {
            own.extend(search);
        }
        block = choose(JUMP_EQUAL, arch.audit(), own, block);
    }
    block.insert(0, plain(LOAD, OFFSET_ARCH));
    block
}

fn x32_block(rules: &[Rule<'_>], default: Action) -> Block {
    let mut block = vec![plain(AND, !X32_BIT)];
    block.extend(compile_arch(Arch::X32, rules, default));
    block
}

/// The search over the numbers of one architecture; the number is in the accumulator.
fn compile_arch(arch: Arch, rules: &[Rule<'_>], default: Action) -> Block {
    let answers = answers(arch, rules, default);
    let newest = answers.iter().rposition(Option::is_some);
    let mut ranges: Vec<(u32, Answer)> = Vec::with_capacity(64);
    ranges.push((0, Answer::Plain(default)));
    for (number, answer) in (0u32..).zip(answers) {
        push_range(&mut ranges, number, answer.unwrap_or(Answer::Plain(default)));
    }
    if let Some(newest) = newest.and_then(|newest| u32::try_from(newest).ok()) {
        let unknown = if matches!(default & 0xffff_0000, ALLOW | LOG | TRACE) {
            default
        } else {
            ERRNO | ENOSYS
        };
        push_range(&mut ranges, newest + 1, Answer::Plain(unknown));
    }
    search(&ranges, default)
}

/// What each call number gets, by number; calls without a rule are `None`.
fn answers(arch: Arch, rules: &[Rule<'_>], default: Action) -> Vec<Option<Answer>> {
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(512);
    for rule in rules {
        for number in rule.calls.iter().filter_map(|call| arch.number(*call)) {
            let at = number as usize;
            if at >= answers.len() {
                answers.resize(at + 1, None);
            }
            let answer = answers[at].get_or_insert_with(|| Answer::Chain(Vec::new()));
            let Answer::Chain(chain) = answer else { continue };
            if rule.action == default {
                continue;
            }
            if rule.alternatives.is_empty() {
                *answer = Answer::Plain(rule.action);
            } else {
                chain.extend(rule.alternatives.iter().map(|tests| (tests.clone(), rule.action)));
            }
        }
    }
    for answer in answers.iter_mut().flatten() {
        if matches!(answer, Answer::Chain(chain) if chain.is_empty()) {
            *answer = Answer::Plain(default);
        }
    }
    answers
}

/// Appends a range that starts at `from`; it replaces one that starts there too and joins one with the same answer.
fn push_range(ranges: &mut Vec<(u32, Answer)>, from: u32, answer: Answer) {
    if ranges.last().is_some_and(|(start, _)| *start == from) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, last)| *last != answer) {
        ranges.push((from, answer));
    }
}

fn search(ranges: &[(u32, Answer)], default: Action) -> Block {
    if let [(_, answer)] = ranges {
        return match answer {
            Answer::Plain(action) => vec![plain(RETURN, *action)],
            Answer::Chain(chain) => tests(chain, default),
        };
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    choose(JUMP_GREATER_OR_EQUAL, high[0].0, search(high, default), search(low, default))
}

/// Where a test goes on.
#[derive(Clone, Copy)]
enum To {
    /// Skip so many instructions.
    Skip(u8),
    /// The next alternative.
    Fail,
}

fn tests(chain: &[(Vec<Test>, Action)], default: Action) -> Block {
    let mut block = Vec::new();
    for (all, action) in chain {
        let steps: Vec<(u16, u32, To, To)> = all.iter().flat_map(steps).collect();
        let count = steps.len();
        for (at, (code, k, yes, no)) in steps.into_iter().enumerate() {
            // The alternative's own return stands after its steps; the next one after that.
            let fail = u8::try_from(count - at).unwrap_or(u8::MAX);
            let distance = |to| match to {
                To::Skip(count) => count,
                To::Fail => fail,
            };
            block.push(branch(code, k, distance(yes), distance(no)));
        }
        block.push(plain(RETURN, *action));
    }
    block.push(plain(RETURN, default));
    block
}

/// The instructions of one test: they fall through if it holds.
fn steps(test: &Test) -> Vec<(u16, u32, To, To)> {
    use To::{Fail, Skip};
    let low_at = OFFSET_ARGUMENTS + 8 * test.index;
    let load_high = (LOAD, low_at + 4, Skip(0), Skip(0));
    let load_low = (LOAD, low_at, Skip(0), Skip(0));
    let (high, low) = halves(test.value);
    match test.compare {
        Compare::Equal => vec![
            load_high,
            (JUMP_EQUAL, high, Skip(0), Fail),
            load_low,
            (JUMP_EQUAL, low, Skip(0), Fail),
        ],
        Compare::NotEqual => vec![
            load_high,
            (JUMP_EQUAL, high, Skip(0), Skip(2)),
            load_low,
            (JUMP_EQUAL, low, Fail, Skip(0)),
        ],
        Compare::Masked => {
            let (want_high, want_low) = halves(test.value_two);
            vec![
                load_high,
                (AND, high, Skip(0), Skip(0)),
                (JUMP_EQUAL, want_high, Skip(0), Fail),
                load_low,
                (AND, low, Skip(0), Skip(0)),
                (JUMP_EQUAL, want_low, Skip(0), Fail),
            ]
        }
        Compare::Greater | Compare::GreaterOrEqual => {
            let code =
                if test.compare == Compare::Greater { JUMP_GREATER } else { JUMP_GREATER_OR_EQUAL };
            vec![
                load_high,
                (JUMP_GREATER, high, Skip(3), Skip(0)),
                (JUMP_EQUAL, high, Skip(0), Fail),
                load_low,
                (code, low, Skip(0), Fail),
            ]
        }
        Compare::Less | Compare::LessOrEqual => {
            let code =
                if test.compare == Compare::Less { JUMP_GREATER_OR_EQUAL } else { JUMP_GREATER };
            vec![
                load_high,
                (JUMP_GREATER, high, Fail, Skip(0)),
                (JUMP_EQUAL, high, Skip(0), Skip(2)),
                load_low,
                (code, low, Fail, Skip(0)),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, (value & 0xffff_ffff) as u32)
}

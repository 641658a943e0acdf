//! The device controller of cgroup v2: a small eBPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE` (bpf(2), Linux 4.15).
//!
//! The program tests the rules from the last to the first; the first that fits decides, and without one the answer is no.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// Which devices a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Block and character devices.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// One rule; `None` stands for every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether the access is allowed.
    pub allow: bool,
    /// Which devices.
    pub kind: DeviceKind,
    /// The major number.
    pub major: Option<u32>,
    /// The minor number.
    pub minor: Option<u32>,
    /// The access meant: 1 mknod, 2 read, 4 write, added up.
    pub access: u32,
}

/// One instruction of eBPF, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high four.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOVE_IMMEDIATE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND_IMMEDIATE: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d; // BPF_JMP | BPF_JNE | BPF_X
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;
const RESULT: u8 = 0;

const ALL_ACCESS: u32 = 7;

fn insn(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | (from << 4), offset, immediate }
}

/// Compiles the rules, of which later ones outweigh earlier ones.
#[must_use]
pub fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }`, access_type = (access << 16) | kind.
    let mut program = vec![
        insn(LOAD_WORD, KIND, 1, 0, 0),
        insn(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        insn(LOAD_WORD, ACCESS, 1, 0, 0),
        insn(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, 1, 4, 0),
        insn(LOAD_WORD, MINOR, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let block = rule_block(rule);
        let ends = is_unconditional(rule);
        program.extend(block);
        if ends {
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn is_unconditional(rule: &DeviceRule) -> bool {
    rule.kind == DeviceKind::All
        && rule.major.is_none()
        && rule.minor.is_none()
        && rule.access & ALL_ACCESS == ALL_ACCESS
}

fn answer(allow: bool) -> [Instruction; 2] {
    [insn(MOVE_IMMEDIATE, RESULT, 0, 0, i32::from(allow)), insn(EXIT, 0, 0, 0, 0)]
}

fn rule_block(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Block => tests.push(insn(JUMP_NOT_EQUAL, KIND, 0, 0, 1)),
        DeviceKind::Character => tests.push(insn(JUMP_NOT_EQUAL, KIND, 0, 0, 2)),
    }
    if rule.access & ALL_ACCESS != ALL_ACCESS {
        tests.push(insn(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0));
        if rule.allow {
            // Allowed only if nothing is asked beyond the rule's access.
            let immediate = (rule.access & ALL_ACCESS).cast_signed();
            tests.push(insn(AND_IMMEDIATE, SCRATCH, 0, 0, immediate));
            tests.push(insn(JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0, 0));
        } else {
            // Denied if anything of the rule's access is asked: skip the block when the intersection is empty.
            let immediate = (rule.access & ALL_ACCESS).cast_signed();
            tests.push(insn(AND_IMMEDIATE, SCRATCH, 0, 0, immediate));
            tests.push(insn(0x15, SCRATCH, 0, 0, 0)); // BPF_JMP | BPF_JEQ | BPF_K
        }
    }
    if let Some(major) = rule.major {
        tests.push(insn(JUMP_NOT_EQUAL, MAJOR, 0, 0, major.cast_signed()));
    }
    if let Some(minor) = rule.minor {
        tests.push(insn(JUMP_NOT_EQUAL, MINOR, 0, 0, minor.cast_signed()));
    }
    let end = tests.len() + 2;
    for (at, test) in tests.iter_mut().enumerate() {
        if test.code & 0x07 == 0x05 {
            test.offset = i16::try_from(end - at - 1).unwrap_or(i16::MAX);
        }
    }
    tests.extend(answer(rule.allow));
    tests
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_QUERY: libc::c_int = 16;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const FLAG_ALLOW_MULTI: u32 = 2;
const FLAG_REPLACE: u32 = 4;

#[derive(Default)]
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    program_flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[derive(Default)]
#[repr(C)]
struct QueryAttributes {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    program_count: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct IdAttributes {
    id: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<i32, Errno> {
    // SAFETY: `attributes` is a live `repr(C)` mirror of the command's part of `union bpf_attr`, and its true size is given;
    // pointers in it are to memory that the callers keep alive over the call.
    // JUSTIFICATION: neither std nor rustix has bpf(2).
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    crate::clone::check(result).and_then(|n| i32::try_from(n).map_err(|_| Errno::INVAL))
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// bpf(2) `BPF_PROG_LOAD`.
///
/// # Errors
/// `EPERM` without `CAP_BPF` or `CAP_SYS_ADMIN`; `EINVAL` for a program that the verifier refuses.
pub fn load(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let mut attributes = LoadAttributes {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        instructions: program.as_ptr().addr() as u64,
        license: c"Apache".as_ptr().addr() as u64,
        ..LoadAttributes::default()
    };
    let fd = bpf(PROG_LOAD, &mut attributes)?;
    // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor that nobody else owns.
    // JUSTIFICATION: the kernel returns the descriptor as a number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2) `BPF_PROG_ATTACH`: puts the program on the cgroup and takes off those that were on it before. There is no moment without
/// one: a single one is replaced (`BPF_F_REPLACE`, Linux 5.6), several are in force together with the new one until they are off.
///
/// # Errors
/// Those of bpf(2).
pub fn attach(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let cgroup = cgroup.as_fd();
    let (old, old_flags) = query(cgroup).unwrap_or_default();
    // Without "multi" the kernel lets the new one take the place of the old.
    let flags = if old.is_empty() { FLAG_ALLOW_MULTI } else { old_flags };
    let mut attributes = AttachAttributes {
        target: number(cgroup),
        program: number(program.as_fd()),
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        replaced: 0,
    };
    if let ([id], true) = (&old[..], flags & FLAG_ALLOW_MULTI != 0) {
        let replaced = by_id(*id)?;
        attributes.flags |= FLAG_REPLACE;
        attributes.replaced = number(replaced.as_fd());
        match bpf(PROG_ATTACH, &mut attributes) {
            Err(Errno::INVAL) => attributes.flags &= !FLAG_REPLACE,
            other => return other.map(drop),
        }
        attributes.replaced = 0;
    }
    bpf(PROG_ATTACH, &mut attributes)?;
    if flags & FLAG_ALLOW_MULTI == 0 { Ok(()) } else { detach_each(cgroup, &old) }
}

/// bpf(2) `BPF_PROG_DETACH`: takes off every device program.
///
/// # Errors
/// Those of bpf(2).
pub fn detach(cgroup: impl AsFd) -> Result<(), Errno> {
    let cgroup = cgroup.as_fd();
    // A kernel without such programs has none to take off.
    let (old, _) = query(cgroup).unwrap_or_default();
    detach_each(cgroup, &old)
}

fn detach_each(cgroup: BorrowedFd<'_>, ids: &[u32]) -> Result<(), Errno> {
    for id in ids {
        let program = by_id(*id)?;
        let mut attributes = AttachAttributes {
            target: number(cgroup),
            program: number(program.as_fd()),
            kind: ATTACH_CGROUP_DEVICE,
            ..AttachAttributes::default()
        };
        bpf(PROG_DETACH, &mut attributes)?;
    }
    Ok(())
}

/// bpf(2) `BPF_PROG_QUERY`: the ids of the device programs on the cgroup.
///
/// # Errors
/// Those of bpf(2).
pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    query(cgroup).map(|(ids, _)| ids)
}

/// The ids and the flags with which they were attached.
fn query(cgroup: BorrowedFd<'_>) -> Result<(Vec<u32>, u32), Errno> {
    let mut ids = vec![0u32; 64];
    let mut attributes = QueryAttributes {
        target: number(cgroup),
        kind: ATTACH_CGROUP_DEVICE,
        program_ids: ids.as_mut_ptr().addr() as u64,
        program_count: 64,
        ..QueryAttributes::default()
    };
    bpf(PROG_QUERY, &mut attributes)?;
    ids.truncate(attributes.program_count as usize);
    Ok((ids, attributes.attach_flags))
}

fn by_id(id: u32) -> Result<OwnedFd, Errno> {
    let fd = bpf(PROG_GET_FD_BY_ID, &mut IdAttributes { id, ..IdAttributes::default() })?;
    // SAFETY: a successful BPF_PROG_GET_FD_BY_ID returns a new descriptor that nobody else owns.
    // JUSTIFICATION: the kernel returns the descriptor as a number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests;

use super::*;

/// Runs a device program on a context as the kernel would.
fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let context = [(access << 16) | kind, major, minor];
    let mut registers = [0u64; 11];
    let mut at = 0usize;
    loop {
        let step = program[at];
        let (to, from) = ((step.registers & 15) as usize, (step.registers >> 4) as usize);
        let immediate = step.immediate as u32;
        let skip = step.offset as usize;
        at += 1;
        match step.code {
            LOAD_WORD => registers[to] = u64::from(context[skip / 4]),
            MOVE_REGISTER => registers[to] = registers[from] & 0xffff_ffff,
            MOVE_IMMEDIATE => registers[to] = u64::from(immediate),
            AND_IMMEDIATE => registers[to] = u64::from(registers[to] as u32 & immediate),
            SHIFT_RIGHT => registers[to] = u64::from(registers[to] as u32 >> immediate),
            JUMP_NOT_EQUAL if registers[to] != u64::from(immediate) => at += skip,
            JUMP_NOT_EQUAL_REGISTER if registers[to] != registers[from] => at += skip,
            0x15 if registers[to] == u64::from(immediate) => at += skip,
            JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER | 0x15 => {}
            EXIT => return registers[0] != 0,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(
    allow: bool,
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access }
}

#[test]
fn the_default_list_of_an_engine() {
    let rules = [
        rule(false, DeviceKind::All, None, None, 7),
        rule(true, DeviceKind::Character, None, None, 1),
        rule(true, DeviceKind::Character, Some(1), Some(3), 7),
        rule(true, DeviceKind::Character, Some(1), Some(5), 2),
    ];
    let program = compile(&rules);
    assert!(run(&program, 2, 6, 1, 3), "read and write /dev/null");
    assert!(run(&program, 2, 2, 1, 5), "read /dev/zero");
    assert!(!run(&program, 2, 6, 1, 5), "write /dev/zero");
    assert!(run(&program, 2, 1, 9, 9), "mknod of any character device");
    assert!(!run(&program, 1, 1, 9, 9), "mknod of a block device");
    assert!(!run(&program, 1, 2, 8, 0), "read of a disk");
}

#[test]
fn later_rules_outweigh_earlier_ones() {
    let rules = [
        rule(true, DeviceKind::All, None, None, 7),
        rule(false, DeviceKind::Block, Some(8), None, 4),
    ];
    let program = compile(&rules);
    assert!(run(&program, 1, 2, 8, 1));
    assert!(!run(&program, 1, 4, 8, 1));
    assert!(!run(&program, 1, 6, 8, 1), "a denied part denies the whole");
    assert!(run(&program, 2, 6, 8, 1));
}

#[test]
fn no_rule_means_no() {
    assert!(!run(&compile(&[]), 2, 2, 1, 3));
}

//! The bundles that are measured: the default configuration over a busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::shell;

/// Writes the bundles `plain`, `filtered` and `sleep` into `dir`, with the programs that are there already.
pub(super) fn write_all(dir: &Path) -> Result<()> {
    let seccomp = seccomp()?;
    write(dir, "plain", &json!(["/bin/true"]), &Value::Null)?;
    write(dir, "filtered", &json!(["/bin/true"]), &seccomp)?;
    write(dir, "sleep", &json!(["/bin/sleep", "100000"]), &Value::Null)
}

/// A profile as large as Docker's default: every call that the kernel's header names but some, a few with conditions.
fn seccomp() -> Result<Value> {
    const REFUSED: [&str; 12] = [
        "acct",
        "add_key",
        "bpf",
        "clone3",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "personality",
        "ptrace",
        "reboot",
        "swapon",
    ];
    let names: Vec<String> = super::calls::names()?
        .into_values()
        .filter(|name| !REFUSED.contains(&name.as_str()) && name != "clone")
        .collect();
    let equal = |value: u64| json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
    let mut rules = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    for persona in [0u64, 8, 0x20000, 0x20008, 0xffff_ffff] {
        rules.push(
            json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": equal(persona) }),
        );
    }
    let namespaces = json!([{ "index": 0, "value": 0x7e02_0000u64, "op": "SCMP_CMP_MASKED_EQ" }]);
    rules.push(json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": namespaces }));
    rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }))
}

fn write(dir: &Path, name: &str, args: &Value, seccomp: &Value) -> Result<()> {
    let bundle = dir.join(name);
    let _ = fs::remove_dir_all(&bundle);
    for sub in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir_all(bundle.join("rootfs").join(sub))?;
    }
    fs::copy(dir.join("busybox"), bundle.join("rootfs/bin/busybox"))?;
    for applet in ["true", "sleep", "sh"] {
        symlink("busybox", bundle.join("rootfs/bin").join(applet))?;
    }
    // runc's example: what everybody starts from.
    shell::output(Command::new(dir.join("runc")).arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = args.clone();
    if !seccomp.is_null() {
        spec["linux"]["seccomp"] = seccomp.clone();
    }
    fs::write(&path, serde_json::to_vec_pretty(&spec)?)?;
    Ok(())
}

//! Experiment 1: which kernel runs it.

use std::fs;
use std::path::Path;

use crate::host::Host;
use crate::report::{Claim, Evidence, Section};
use crate::subject::Subject;

/// Programs that are a kernel, or run one, for what is inside them.
const FOREIGN: [(&str, &str); 8] = [
    ("qemu-system", "a virtual machine (QEMU)"),
    ("cloud-hypervisor", "a virtual machine (Cloud Hypervisor)"),
    ("firecracker", "a virtual machine (Firecracker)"),
    ("crosvm", "a virtual machine (crosvm)"),
    ("kata-", "a virtual machine (Kata)"),
    ("runsc-sandbox", "gVisor's kernel in user space"),
    ("runsc", "gVisor's kernel in user space"),
    ("linux.uml", "User Mode Linux"),
];

/// Reports whose kernel a process runs on.
#[must_use]
pub fn kernel(host: &Host, subject: &Subject) -> Section {
    let mut section = Section::new("kernel", "Which kernel runs it");
    section.claims.push(shared(host, subject));
    section.claims.push(told(host, subject));
    section.claims.push(userland(host, subject));
    section
}

fn shared(host: &Host, subject: &Subject) -> Claim {
    let version = host.observe("host", host.proc("version"));
    let name = host.observe(&subject.label, subject.path(host, "comm"));
    let program = host.observe_link(&subject.label, subject.path(host, "exe"));
    let machine = virtual_machine(host, subject);
    let foreign = [&name, &program].into_iter().find_map(foreign);
    let claim = Claim::new("kernel.shared", "It runs on the host's kernel");
    let (holds, finding) = match (foreign, &machine) {
        (Some(what), _) => {
            (Some(false), format!("the process is {what}: what runs inside has another kernel"))
        }
        (None, Some(_)) => (
            Some(false),
            "the process drives a virtual machine: what runs inside has another kernel".into(),
        ),
        (None, None) if version.reading.value().is_some() && name.reading.value().is_some() => (
            Some(true),
            "it is a task of this kernel, like every process in `/proc`: no second kernel exists that could run it".into(),
        ),
        (None, None) => (None, String::new()),
    };
    let evidence = [version, name, program].into_iter().chain(machine);
    claim.all_seen(evidence).holds(holds, finding).because(
        "A container is a process with other views. Its /proc/version is the host's to the byte, and so are modules, the real-time clock, dmesg and the load average; \
         a UTS namespace changes names only, never the release.",
        format!("cat /proc/version; nsenter -t {} -m cat /proc/version", subject.pid),
    )
}

fn foreign(evidence: &Evidence) -> Option<&'static str> {
    let value = evidence.reading.value()?;
    let name = Path::new(value).file_name()?.to_str()?;
    FOREIGN.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, what)| *what)
}

/// An open file of KVM's virtual machines.
fn virtual_machine(host: &Host, subject: &Subject) -> Option<Evidence> {
    let list = fs::read_dir(subject.path(host, "fd")).ok()?;
    list.flatten()
        .map(|entry| host.observe_link(&subject.label, entry.path()))
        .find(|link| link.reading.value().is_some_and(|to| to.contains("kvm-vm")))
}

fn told(host: &Host, subject: &Subject) -> Claim {
    let file = host.observe(&subject.label, subject.path(host, "personality"));
    let bits = file.reading.value().and_then(|text| u32::from_str_radix(text.trim(), 16).ok());
    let (holds, finding) = match bits {
        // PER_LINUX32 is 8, UNAME26 is a flag.
        Some(bits) if bits & 0xff == 8 || bits & 0x0002_0000 != 0 => (
            Some(false),
            format!(
                "its personality is {bits:#x}: uname answers as another release or machine would"
            ),
        ),
        Some(bits) => (Some(true), format!("its personality is {bits:#x}")),
        None => (None, String::new()),
    };
    Claim::new("kernel.uname", "It is told the truth by uname").seen(file).holds(holds, finding).because(
        "personality(2) can make uname(2) report Linux 2.6 or a 32-bit machine to one process; it changes nothing else about the kernel.",
        format!("cat /proc/{}/personality", subject.pid),
    )
}

fn userland(host: &Host, subject: &Subject) -> Claim {
    let own = host.observe("host", host.root("/etc/os-release"));
    let inside = host.observe_inside(&subject.label, subject.pid, "/etc/os-release");
    let (a, b) = (pretty(&own), pretty(&inside));
    let (holds, finding) = match (&a, &b) {
        (Some(outer), Some(inner)) => {
            (Some(own.reading != inside.reading), format!("the host is {outer}, inside is {inner}"))
        }
        _ => (None, String::new()),
    };
    let evidence = [own, inside].map(|evidence| Evidence {
        reading: pretty(&evidence).map_or(evidence.reading.clone(), crate::Reading::Value),
        ..evidence
    });
    Claim::new("kernel.userland", "Its programs come from another distribution")
        .all_seen(evidence)
        .holds(holds, finding)
        .because(
            "/etc/os-release is a file of the image. It says which programs are there, and nothing about the kernel.",
            format!("cat /etc/os-release /proc/{}/root/etc/os-release", subject.pid),
        )
}

fn pretty(evidence: &Evidence) -> Option<String> {
    let text = evidence.reading.value()?;
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let name = line("PRETTY_NAME=").or_else(|| line("NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::testing::Fake;

    fn verdict(fake: &Fake, id: &str) -> Verdict {
        let section = kernel(&fake.host(), &fake.subject("web", 9));
        section.claims.into_iter().find(|claim| claim.id == id).unwrap().verdict
    }

    fn ordinary() -> Fake {
        Fake::new(&[
            ("proc/version", "Linux version 6.18\n"),
            ("proc/9/comm", "nginx\n"),
            ("proc/9/personality", "00000000\n"),
            ("proc/9/root/etc/os-release", "NAME=\"Alpine\"\n"),
            ("etc/os-release", "PRETTY_NAME=\"Debian 12\"\n"),
        ])
    }

    #[test]
    fn a_process_shares_the_kernel_and_a_machine_does_not() {
        let fake = ordinary();
        assert_eq!(verdict(&fake, "kernel.shared"), Verdict::True);
        fake.write("proc/9/comm", "qemu-system-x86\n");
        assert_eq!(verdict(&fake, "kernel.shared"), Verdict::False);
        fake.write("proc/9/comm", "innocent\n");
        assert_eq!(verdict(&fake, "kernel.shared"), Verdict::True);
        fake.link("proc/9/fd/7", "anon_inode:kvm-vm");
        assert_eq!(verdict(&fake, "kernel.shared"), Verdict::False);
        fake.remove("proc/version");
        fake.remove("proc/9/fd/7");
        assert_eq!(verdict(&fake, "kernel.shared"), Verdict::Unknown);
    }

    #[test]
    fn a_personality_changes_what_uname_says() {
        let fake = ordinary();
        assert_eq!(verdict(&fake, "kernel.uname"), Verdict::True);
        fake.write("proc/9/personality", "00020000\n");
        assert_eq!(verdict(&fake, "kernel.uname"), Verdict::False);
    }

    #[test]
    fn distributions_are_compared() {
        let fake = ordinary();
        assert_eq!(verdict(&fake, "kernel.userland"), Verdict::True);
        fake.write("proc/9/root/etc/os-release", "PRETTY_NAME=\"Debian 12\"\n");
        assert_eq!(verdict(&fake, "kernel.userland"), Verdict::False);
        fake.remove("proc/9/root/etc/os-release");
        assert_eq!(verdict(&fake, "kernel.userland"), Verdict::Unknown);
    }
}

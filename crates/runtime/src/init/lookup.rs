//! Finding the program and the home directory, inside the container and as the container's user.

use std::ffi::{CStr, CString, OsStr};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{InitFailure, describe};

/// Finds the file to run for `name`, as Go's exec.LookPath does, whose words engines compare.
pub(super) fn program(name: &CStr, path: Option<&[u8]>) -> Result<CString, InitFailure> {
    let shown = name.to_string_lossy().into_owned();
    let bytes = name.to_bytes();
    if bytes.contains(&b'/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::ACCESS) => {
                let text = format!("exec: {shown:?}: permission denied");
                Err(InitFailure::program(text, Errno::ACCESS))
            }
            Err(Errno::ISDIR) => {
                // Podman tells 126 by the second part.
                let text = format!("exec: {shown:?}: is a directory: permission denied");
                Err(InitFailure::program(text, Errno::ISDIR))
            }
            Err(error) => {
                let text = format!("exec: {shown:?}: stat {shown}: {}", describe(error));
                Err(InitFailure::program(text, error))
            }
        };
    }
    for directory in path.unwrap_or_default().split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let full = [directory, b"/", bytes].concat();
        let Ok(full) = CString::new(full) else { continue };
        if check(&full).is_ok() {
            return Ok(full);
        }
    }
    let text = format!("exec: {shown:?}: executable file not found in $PATH");
    Err(InitFailure::program(text, Errno::NOENT))
}

/// A file that this process may execute: `EACCES` and `EISDIR` say why not.
fn check(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // Kernels and filters without the call: the mode was looked at already.
        Err(Errno::NOSYS | Errno::PERM) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the home directory of a user by the container's `/etc/passwd`; `/` if it is not told there.
pub(super) fn home(uid: u32) -> CString {
    let home = regular_file(c"/etc/passwd").ok().and_then(|file| {
        let mut text = Vec::new();
        file.take(1 << 20).read_to_end(&mut text).ok()?;
        home_in(&text, uid)
    });
    home.unwrap_or_else(|| c"/".to_owned())
}

/// Opens a file of the image, which may be a pipe that nobody ever writes into, or a device.
fn regular_file(path: &CStr) -> Result<std::fs::File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind == FileType::RegularFile { Ok(file.into()) } else { Err(Errno::INVAL) }
}

fn home_in(passwd: &[u8], uid: u32) -> Option<CString> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let number = OsStr::from_bytes(fields.get(2)?).to_str()?.parse::<u32>().ok()?;
        let home = *fields.get(5)?;
        (number == uid && !home.is_empty()).then(|| CString::new(home).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &CStr) -> String {
        program(name, Some(b"/usr/bin:/bin")).unwrap_err().to_string()
    }

    #[test]
    fn words_are_gos() {
        assert_eq!(refused(c"nope"), "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(refused(c"/no/pe"), "exec: \"/no/pe\": stat /no/pe: no such file or directory");
        assert_eq!(refused(c"/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(refused(c"/etc"), "exec: \"/etc\": is a directory: permission denied");
        assert!(program(c"sh", Some(b"/nope:/bin")).unwrap().to_bytes().ends_with(b"/sh"));
    }

    #[test]
    fn homes_are_found() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\nu:x:7:7::/home/u:\nv:x:8:8:::\n";
        assert_eq!(home_in(passwd, 0).unwrap().as_c_str(), c"/root");
        assert_eq!(home_in(passwd, 7).unwrap().as_c_str(), c"/home/u");
        assert_eq!(home_in(passwd, 8), None);
        assert_eq!(home_in(passwd, 9), None);
    }
}

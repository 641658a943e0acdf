//! Groups for one who has no right to some hierarchies, or to any.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};

use super::{CgroupError, Group, Made, Place, because};

/// What [`Group::create_permitted`] could make.
#[derive(Debug)]
pub struct Permitted {
    /// The places that there are.
    pub group: Group,
    /// What was made of them.
    pub made: Made,
    /// Why the first of the others is not there.
    pub refused: Option<CgroupError>,
}

impl CgroupError {
    /// Tells whether the right is missing, and not something else: `EACCES`, `EPERM`, `EROFS`.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
    }
}

impl Group {
    /// As [`Group::create`], but leaves out the hierarchies where the caller, whose own groups are `own`, may not make the group or enter it.
    ///
    /// # Errors
    /// Anything but a missing right; what was made before the error is removed.
    pub fn create_permitted(&self, own: &Self) -> Result<Permitted, CgroupError> {
        let mut result = Permitted { group: Self::default(), made: Made::default(), refused: None };
        for place in &self.places {
            match create(place, own) {
                Ok(made) => {
                    result.made.lacking |= made.lacking;
                    result.made.directories.extend(made.directories);
                    result.group.places.push(place.clone());
                }
                // Beside version 1 the version 2 tree has nothing that a container needs.
                Err(error) if error.is_refusal() && place.is_unified() && !self.is_version_2() => {}
                Err(error) if error.is_refusal() => {
                    result.refused.get_or_insert(error);
                }
                Err(error) => {
                    result.made.undo();
                    return Err(error);
                }
            }
        }
        Ok(result)
    }
}

fn create(place: &Place, own: &Group) -> Result<Made, CgroupError> {
    let made = Group::from_places(vec![place.clone()]).create()?;
    let entered = may_write(&place.directory).and_then(|()| {
        // On version 2 a process is moved by who may write to the group above both, too.
        let home = own.unified().filter(|_| place.is_unified());
        home.map_or(Ok(()), |home| may_write(common(home, &place.directory)))
    });
    if entered.is_err() {
        made.undo();
    }
    entered.map(|()| made)
}

fn may_write(directory: &Path) -> Result<(), CgroupError> {
    let file = directory.join("cgroup.procs");
    rustix::fs::accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|error| because("write", &file)(error.into()))
}

/// The deepest directory above both or one of them.
fn common<'a>(one: &'a Path, other: &Path) -> &'a Path {
    one.ancestors().find(|path| other.starts_with(path)).unwrap_or(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_above_both_is_found() {
        let common = |a: &'static str, b: &str| common(Path::new(a), Path::new(b));
        assert_eq!(common("/c/u/a", "/c/u/b/c"), Path::new("/c/u"));
        assert_eq!(common("/c/u", "/c/u/b"), Path::new("/c/u"));
        assert_eq!(common("/c/ux", "/c/u/b"), Path::new("/c"));
    }
}

//! The image that is part of the install: `belljar/hello`, so that a first `run` needs no network.

use std::fs::File;
use std::path::{Path, PathBuf};

use engine::Engine;

const NAME: &str = "belljar/hello:latest";

/// Loads the image unless it is here. Its absence or a failure is not the daemon's end.
pub(crate) async fn load(engine: &Engine, programs: &Path) {
    if engine.images().resolve(NAME).is_ok() {
        return;
    }
    let Some((path, file)) = find(programs) else {
        tracing::debug!(image = NAME, "no embedded image beside the program");
        return;
    };
    match engine.load(file, |_| {}).await {
        Ok(_) => tracing::info!(image = NAME, "loaded the embedded image"),
        Err(error) => {
            tracing::warn!(path = %path.display(), "load the embedded image: {}", error.chain());
        }
    }
}

/// Beside the programs in a build, in `share` of an installation.
fn find(programs: &Path) -> Option<(PathBuf, File)> {
    let places = ["belljar-hello.tar", "../share/belljar/belljar-hello.tar"];
    places
        .iter()
        .map(|place| programs.join(place))
        .find_map(|p| Some((p.clone(), File::open(p).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, share) = (dir.path().join("bin"), dir.path().join("share/belljar"));
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&share).unwrap();
        assert!(find(&bin).is_none());
        std::fs::write(share.join("belljar-hello.tar"), "far").unwrap();
        assert!(find(&bin).unwrap().0.ends_with("share/belljar/belljar-hello.tar"));
        std::fs::write(bin.join("belljar-hello.tar"), "near").unwrap();
        assert_eq!(find(&bin).unwrap().0, bin.join("belljar-hello.tar"));
    }
}

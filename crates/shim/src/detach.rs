//! The key sequence that ends an attach.

/// What became of some typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Pass this many of `out`'s bytes on and go on.
    Pass,
    /// The sequence is complete: pass `out` on, then let the client go.
    Detach,
}

/// Looks for the sequence in a stream of bytes. A partial match is held back, and passed on as soon as it fails.
#[derive(Debug, Default)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// How many keys have been seen and held back.
    held: usize,
}

impl DetachKeys {
    pub(crate) fn new(keys: Vec<u8>) -> DetachKeys {
        DetachKeys { keys, held: 0 }
    }

    /// Appends to `out` what the process may read.
    pub(crate) fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> Typed {
        if self.keys.is_empty() {
            out.extend_from_slice(typed);
            return Typed::Pass;
        }
        for &byte in typed {
            self.step(byte, out);
            if self.held == self.keys.len() {
                self.held = 0;
                return Typed::Detach;
            }
        }
        Typed::Pass
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        loop {
            if self.keys[self.held] == byte {
                self.held += 1;
                return;
            }
            if self.held == 0 {
                out.push(byte);
                return;
            }
            // Let go of as few held keys as make the rest a beginning of the sequence again.
            let held = &self.keys[..self.held];
            let keep = (0..self.held).rev().find(|keep| held.ends_with(&self.keys[..*keep]));
            let keep = keep.unwrap_or(0);
            out.extend_from_slice(&held[..self.held - keep]);
            self.held = keep;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut machine, mut out) = (DetachKeys::new(keys.to_vec()), Vec::new());
        for piece in pieces {
            if machine.filter(piece, &mut out) == Typed::Detach {
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn the_default_sequence_detaches_however_it_is_cut() {
        let keys = [16, 17];
        assert_eq!(run(&keys, &[b"ls\n\x10\x11rest"]), (b"ls\n".to_vec(), true));
        assert_eq!(run(&keys, &[b"ls\n\x10", b"\x11"]), (b"ls\n".to_vec(), true));
    }

    #[test]
    fn a_partial_match_is_passed_on_when_it_fails() {
        let keys = [16, 17];
        assert_eq!(run(&keys, &[b"\x10", b"a"]), (b"\x10a".to_vec(), false));
        assert_eq!(run(&keys, &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(run(b"aab", &[b"aaab"]), (b"a".to_vec(), true), "overlapping keys");
        assert_eq!(run(b"abac", &[b"ababac"]), (b"ab".to_vec(), true));
        assert_eq!(run(b"", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
    }
}

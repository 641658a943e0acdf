//! One 512-byte tar header block: V7, ustar, star and GNU forms (POSIX.1-2001 pax "ustar interchange format"; GNU tar `tar.h`).

pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum holds.
pub(crate) struct Header([u8; BLOCK]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// One run of data in a sparse file: its offset and length in bytes.
pub(crate) type Run = (u64, u64);

impl Header {
    /// Takes a block over; nothing when its checksum is wrong.
    pub(crate) fn new(block: [u8; BLOCK]) -> Option<Self> {
        let header = Self(block);
        let stored = number(&block[148..156])?;
        let outside = |at: usize| !(148..156).contains(&at);
        let bytes = || block.iter().enumerate().filter(|(at, _)| outside(*at)).map(|(_, b)| *b);
        let unsigned: i64 = bytes().map(i64::from).sum::<i64>() + 8 * 32;
        // Some old programs summed signed chars.
        let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum::<i64>() + 8 * 32;
        (stored == unsigned || stored == signed).then_some(header)
    }

    fn form(&self) -> Form {
        match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar  \0", _) => Form::Gnu,
            ([b'u', b's', b't', b'a', b'r', 0, ..], b"tar\0") => Form::Star,
            ([b'u', b's', b't', b'a', b'r', 0, ..], _) => Form::Ustar,
            _ => Form::V7,
        }
    }

    pub(crate) fn flag(&self) -> u8 {
        self.0[156]
    }

    /// Returns the name with ustar's prefix in front.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.form() {
            Form::Ustar => text(&self.0[345..500]),
            Form::Star => text(&self.0[345..476]),
            Form::V7 | Form::Gnu => &[],
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Option<u32> {
        number(&self.0[100..108]).map(|mode| (mode & 0o7777) as u32)
    }

    pub(crate) fn uid(&self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn gid(&self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<u64> {
        number(&self.0[124..136]).and_then(|size| u64::try_from(size).ok())
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        number(&self.0[136..148])
    }

    /// Returns the device numbers, major and minor.
    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        if self.form() == Form::V7 {
            return Some((0, 0));
        }
        let part = |field| number(field).and_then(|part| u32::try_from(part).ok());
        Some((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// Returns the runs in an old GNU sparse header, whether more blocks of them follow, and the file's real size.
    pub(crate) fn gnu_sparse(&self) -> Option<(Vec<Run>, bool, u64)> {
        if self.form() != Form::Gnu {
            return None;
        }
        let size = number(&self.0[483..495]).and_then(|size| u64::try_from(size).ok())?;
        Some((runs(&self.0[386..482])?, self.0[482] != 0, size))
    }
}

/// Reads the runs of one extension block of an old GNU sparse header, and whether another block follows.
pub(crate) fn sparse_extension(block: &[u8; BLOCK]) -> Option<(Vec<Run>, bool)> {
    Some((runs(&block[..504])?, block[504] != 0))
}

fn runs(fields: &[u8]) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    for field in fields.chunks_exact(24) {
        if field[0] == 0 {
            break;
        }
        let offset = u64::try_from(number(&field[..12])?).ok()?;
        let length = u64::try_from(number(&field[12..])?).ok()?;
        runs.push((offset, length));
    }
    Some(runs)
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads an octal field, or a GNU base-256 one (top bit set, two's complement); nothing when it is neither or too large.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        return base256(field);
    }
    let digits = text(field).trim_ascii();
    let mut value: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

fn base256(field: &[u8]) -> Option<i64> {
    // Bit 6 of the first byte is the sign; the marker bit above it is not part of the number.
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] | 0x80 } else { field[0] & 0x7f };
    let mut value: i128 = i128::from(first.cast_signed());
    for byte in &field[1..] {
        value = (value << 8) | i128::from(*byte);
    }
    i64::try_from(value).ok()
}

/// What [`encode`] writes into a ustar block.
pub(crate) struct Fields<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
}

/// Writes a ustar block; what does not fit is cut off and must be said in a pax header in front.
pub(crate) fn encode(fields: &Fields<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    copy(&mut block[..100], fields.name);
    octal(&mut block[100..108], u64::from(fields.mode));
    octal(&mut block[108..116], u64::from(fields.uid));
    octal(&mut block[116..124], u64::from(fields.gid));
    octal(&mut block[124..136], fields.size);
    octal(&mut block[136..148], u64::try_from(fields.mtime).unwrap_or(0));
    block[156] = fields.flag;
    copy(&mut block[157..257], fields.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], u64::from(fields.device.0));
    octal(&mut block[337..345], u64::from(fields.device.1));
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// Tells whether `value` fits an octal field of `width` bytes, its final NUL included.
pub(crate) fn fits(value: u64, width: u32) -> bool {
    value < 1 << (3 * (width - 1))
}

fn copy(field: &mut [u8], bytes: &[u8]) {
    let count = bytes.len().min(field.len());
    field[..count].copy_from_slice(&bytes[..count]);
}

fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    if !fits(value, field.len() as u32) {
        value = 0;
    }
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"00009\0\0\0"), None);
        assert_eq!(number(b"-0000001"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0]), None);
    }

    #[test]
    fn an_encoded_header_reads_back() {
        let block = encode(&Fields {
            name: b"a/b",
            flag: b'3',
            mode: 0o4755,
            uid: 7,
            gid: 8,
            size: 9,
            mtime: 10,
            link: b"x",
            device: (1, 2),
        });
        let header = Header::new(block).unwrap();
        assert_eq!((header.name(), header.flag()), (b"a/b".to_vec(), b'3'));
        assert_eq!((header.mode(), header.uid(), header.gid()), (Some(0o4755), Some(7), Some(8)));
        assert_eq!((header.size(), header.mtime()), (Some(9), Some(10)));
        assert_eq!((header.link(), header.device()), (&b"x"[..], Some((1, 2))));
        let mut torn = block;
        torn[0] ^= 1;
        assert!(Header::new(torn).is_none());
    }
}

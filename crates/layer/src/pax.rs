//! pax extended header records: `<length> <key>=<value>\n`, where the length counts the whole record and the value may hold any
//! byte (POSIX.1-2001 pax "pax Extended Header"). Records are cut by their length alone; a record that does not fit is refused,
//! because readers that guess differently disagree about where the next entry begins.

use crate::header::Run;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the records in front of an entry say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<i64>,
    pub(crate) gid: Option<i64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    pub(crate) version: (u64, u64),
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    pub(crate) runs: Vec<Run>,
    /// A run whose length has not come yet (format 0.0).
    open: Option<u64>,
}

impl SparseRecords {
    /// Tells whether the entry is a sparse file in one of the three pax formats.
    pub(crate) fn is_sparse(&self) -> bool {
        self.version == (1, 0) || self.real_size.is_some()
    }
}

type Bad = &'static str;

/// Reads all records of one extended header.
pub(crate) fn parse(mut bytes: &[u8]) -> Result<Pax, Bad> {
    let mut pax = Pax::default();
    // Some writers fill the block up with NULs and count them in.
    while bytes.first().is_some_and(|b| *b != 0) {
        let (key, value, rest) = record(bytes).ok_or("malformed pax record")?;
        take(&mut pax, key, value)?;
        bytes = rest;
    }
    if pax.sparse.open.is_some() {
        return Err("malformed sparse map");
    }
    Ok(pax)
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty()).then_some((key, value, &bytes[length..]))
}

fn take(pax: &mut Pax, key: &[u8], value: &[u8]) -> Result<(), Bad> {
    if let Some(name) = key.strip_prefix(XATTR) {
        if name.is_empty() || name.contains(&0) {
            return Err("malformed xattr name");
        }
        pax.xattrs.retain(|(old, _)| old != name);
        pax.xattrs.push((name.to_vec(), value.to_vec()));
        return Ok(());
    }
    if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
        return take_sparse(&mut pax.sparse, key, value);
    }
    // An empty value takes the record back (POSIX.1-2001).
    let some = (!value.is_empty()).then_some(value);
    let integer = |value| signed(value).ok_or("malformed number in a pax record");
    match key {
        b"path" => pax.path = some.map(name).transpose()?,
        b"linkpath" => pax.link = some.map(name).transpose()?,
        b"size" => pax.size = some.map(count).transpose()?,
        b"uid" => pax.uid = some.map(integer).transpose()?,
        b"gid" => pax.gid = some.map(integer).transpose()?,
        b"mtime" => {
            pax.mtime = some.map(|value| time(value).ok_or("malformed time")).transpose()?;
        }
        _ => {}
    }
    Ok(())
}

fn take_sparse(sparse: &mut SparseRecords, key: &[u8], value: &[u8]) -> Result<(), Bad> {
    match key {
        b"major" => sparse.version.0 = count(value)?,
        b"minor" => sparse.version.1 = count(value)?,
        b"name" => sparse.name = Some(name(value)?),
        b"size" | b"realsize" => sparse.real_size = Some(count(value)?),
        b"offset" if sparse.open.is_some() => return Err("malformed sparse map"),
        b"offset" => sparse.open = Some(count(value)?),
        b"numbytes" => {
            let offset = sparse.open.take().ok_or("malformed sparse map")?;
            sparse.runs.push((offset, count(value)?));
        }
        b"map" => sparse.runs = map(value)?,
        _ => {}
    }
    Ok(())
}

fn map(value: &[u8]) -> Result<Vec<Run>, Bad> {
    let numbers: Vec<u64> = match value {
        [] => Vec::new(),
        _ => value.split(|b| *b == b',').map(count).collect::<Result<_, _>>()?,
    };
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("malformed sparse map");
    }
    Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}

fn name(value: &[u8]) -> Result<Vec<u8>, Bad> {
    if value.contains(&0) { Err("a name with a NUL byte") } else { Ok(value.to_vec()) }
}

fn count(value: &[u8]) -> Result<u64, Bad> {
    decimal(value).ok_or("malformed number in a pax record")
}

/// Reads a decimal number without sign; nothing for anything else.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn signed(value: &[u8]) -> Option<i64> {
    match value.strip_prefix(b"-") {
        Some(digits) => i64::try_from(decimal(digits)?).ok().map(|value| -value),
        None => i64::try_from(decimal(value)?).ok(),
    }
}

/// Reads seconds with any number of decimals as whole seconds, rounded down, and nanoseconds.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (whole, decimals) = match value.iter().position(|b| *b == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &[][..]),
    };
    let seconds = signed(whole)?;
    let mut nanoseconds = 0;
    for at in 0..9 {
        let digit = decimals.get(at).copied().unwrap_or(b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit.is_ascii_digit().then_some(digit - b'0')?);
    }
    if whole.starts_with(b"-") && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// Appends one record to `out`.
pub(crate) fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends one xattr record to `out`.
pub(crate) fn append_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    append(out, &[XATTR, name].concat(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_whatever_bytes_they_hold() {
        for length in [0, 1, 5, 80, 85, 86, 87, 90, 985, 986, 987, 1000] {
            let mut bytes = Vec::new();
            append(&mut bytes, b"path", &vec![b'x'; length.max(1)]);
            append_xattr(&mut bytes, b"user.a", &vec![b'\n'; length]);
            let pax = parse(&bytes).unwrap();
            assert_eq!(pax.path.unwrap().len(), length.max(1));
            assert_eq!(pax.xattrs, [(b"user.a".to_vec(), vec![b'\n'; length])]);
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "x",
            "9 path=a",
            "11 path=a\n",
            "8 path=a\n",
            "0 path=a\n",
            "9 =aaaaa\n",
            "9  path=a\n",
            "99999999999999999999 path=a\n",
            "9 size=x\n",
            "10 size=-1\n",
            "11 mtime=x\n",
            "12 path=a\0b\n",
            "24 GNU.sparse.numbytes=1\n",
            "22 GNU.sparse.offset=1\n",
            "20 GNU.sparse.map=1\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_round_down() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        assert_eq!(time(b"1.x"), None);
    }

    #[test]
    fn sparse_maps_of_both_record_formats_read() {
        let mut bytes = Vec::new();
        for (key, value) in [("size", "100"), ("offset", "1"), ("numbytes", "2")] {
            append(&mut bytes, format!("GNU.sparse.{key}").as_bytes(), value.as_bytes());
        }
        assert_eq!(parse(&bytes).unwrap().sparse.runs, [(1, 2)]);
        append(&mut bytes, b"GNU.sparse.map", b"3,4,5,6");
        let sparse = parse(&bytes).unwrap().sparse;
        assert!(sparse.is_sparse());
        assert_eq!(sparse.runs, [(3, 4), (5, 6)]);
    }
}

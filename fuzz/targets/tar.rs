//! Unpacks anything as a layer.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;

/// Mends the checksum of every block that says it is a header, so that the fuzzer gets behind it.
fn mend(mut tar: Vec<u8>) -> Vec<u8> {
    for block in tar.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    tar
}

fuzz_target!(|data: &[u8]| {
    let top = tempfile::tempdir().expect("a temporary directory");
    let [one, two] = ["one", "two"].map(|name| top.path().join(name));
    fs::create_dir(&one).expect("a directory");
    fs::create_dir(&two).expect("a directory");
    fs::write(top.path().join("sentinel"), b"untouched").expect("a file");
    let limits = layer::Limits { entries: 1000, bytes: 1 << 20, depth: 100 };
    let options = layer::ApplyOptions { name: "fuzz".to_owned(), limits };
    let applied = layer::apply(&mend(data.to_vec())[..], &one, &options);
    assert_eq!(fs::read(top.path().join("sentinel")).expect("still there"), b"untouched");
    assert_eq!(fs::read_dir(top.path()).expect("list").count(), 3);
    if applied.is_err() {
        return;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    layer::pack(&one, &mut first).expect("what was unpacked can be packed");
    let options = layer::ApplyOptions::default();
    let again = layer::apply(&first[..], &two, &options).expect("what was packed can be unpacked");
    let packed = layer::pack(&two, &mut second).expect("and packed again");
    assert_eq!(again.diff_id, packed.diff_id, "to the same bytes");
});

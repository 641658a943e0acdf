use super::*;

#[test]
fn arrays_count_from_their_first_element() {
    let mut writer = Writer::default();
    writer.properties(&[property("A", Value::Number(7)), property("B", Value::Bool(true))]);
    // length, pad; "A" in 6 bytes, signature in 3, pad to 16 of the element, 8; then "B" likewise.
    let want: &[u8] = &[
        44, 0, 0, 0, 0, 0, 0, 0, // length, pad
        1, 0, 0, 0, b'A', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, // A
        1, 0, 0, 0, b'B', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0, // B
    ];
    let length = u32::try_from(want.len() - 8).unwrap();
    assert_eq!(writer.bytes[..4], length.to_le_bytes());
    assert_eq!(writer.bytes[4..], want[4..]);
}

#[test]
fn variants_carry_their_signature() {
    let mut writer = Writer::default();
    writer.variant(&Value::Numbers(vec![258]));
    assert_eq!(writer.bytes, [2, b'a', b'u', 0, 4, 0, 0, 0, 2, 1, 0, 0]);
    let mut writer = Writer::default();
    writer.variant(&Value::Bytes(vec![5]));
    assert_eq!(writer.bytes, [2, b'a', b'y', 0, 1, 0, 0, 0, 5]);
}

#[test]
fn structures_and_small_numbers_have_their_alignment() {
    let bytes = |value: &Value| {
        let mut writer = Writer::default();
        writer.variant(value);
        writer.bytes
    };
    let pairs = Value::Pairs(vec![("a".into(), "b".into())]);
    let want: &[u8] = &[
        5, b'a', b'(', b's', b's', b')', 0, 0, 14, 0, 0, 0, 0, 0, 0,
        0, // signature, length, pad to 8
        1, 0, 0, 0, b'a', 0, 0, 0, 1, 0, 0, 0, b'b', 0,
    ];
    assert_eq!(bytes(&pairs), want);
    let small = |kind, number| bytes(&Value::Small { kind, number });
    assert_eq!(small('y', 7), [1, b'y', 0, 7]);
    assert_eq!(small('i', -1), [1, b'i', 0, 0, 255, 255, 255, 255]);
    assert_eq!(small('x', 2)[..], [1, b'x', 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let texts = bytes(&Value::Texts(vec!["a".into()]));
    assert_eq!(texts, [2, b'a', b's', 0, 6, 0, 0, 0, 1, 0, 0, 0, b'a', 0]);
}

fn signal() -> ([u8; 16], Vec<u8>, Vec<u8>) {
    let mut fields = Writer::default();
    fields.field(1, "o", "/org/freedesktop/systemd1");
    fields.field(3, "s", "JobRemoved");
    fields.field(8, "g", "uoss");
    let mut body = Writer::default();
    body.u32(12);
    body.text("/job/12");
    body.text("x.scope");
    body.text("done");
    let mut fixed = [0u8; 16];
    fixed[..4].copy_from_slice(&[b'l', SIGNAL, 0, 1]);
    fixed[12..].copy_from_slice(&u32::try_from(fields.bytes.len()).unwrap().to_le_bytes());
    fields.align(8);
    (fixed, fields.bytes, body.bytes)
}

#[test]
fn a_signal_is_read() {
    let (fixed, fields, body) = signal();
    let message = Incoming::parse(fixed, &fields, body).unwrap();
    assert_eq!((message.kind, message.member.as_str()), (SIGNAL, "JobRemoved"));
    assert_eq!(message.texts(1), ["/job/12", "x.scope", "done"]);
}

#[test]
fn a_damaged_message_is_refused() {
    let (mut fixed, fields, body) = signal();
    for length in 1..fields.len() {
        // Whatever is cut off, the answer is an error or a message, never a panic.
        let _ = Incoming::parse(fixed, &fields[..length], body.clone());
        let _ = Incoming::parse(fixed, &fields, body[..length.min(body.len())].to_vec());
    }
    fixed[12..].fill(0xff);
    assert_eq!(Incoming::parse(fixed, &fields, body), None);
}

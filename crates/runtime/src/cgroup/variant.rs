//! As much of GVariant's text form as properties of units need: words, numbers with or without a type, and lists of words.

use crate::dbus::Value;

type Parsed = std::result::Result<Value, String>;

/// The names of types before a value, and their letters after an `@`.
const TYPES: [(&str, &str); 9] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
];

/// Reads a value such as `'text'`, `true`, `-5`, `uint64 7`, `@t 7`, `1.5`, `['a', "b"]`.
pub(super) fn parse(text: &str) -> Parsed {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('@') {
        let (letters, value) = rest.split_once(' ').ok_or("a type without a value")?;
        return match letters {
            "s" | "as" => typed_text(letters, value.trim()),
            letters => number(letters, value.trim()),
        };
    }
    if let Some((name, value)) = text.split_once(' ')
        && let Some((_, letters)) = TYPES.iter().find(|(known, _)| *known == name)
    {
        return number(letters, value.trim());
    }
    match text.chars().next() {
        None => Err("empty".into()),
        Some('\'' | '"') => typed_text("s", text),
        Some('[') => typed_text("as", text),
        _ if text == "true" || text == "false" => number("b", text),
        _ if text.contains('.') => number("d", text),
        _ => number("i", text),
    }
}

/// The number of microseconds in a value that counts seconds.
pub(super) fn micros(value: &Value) -> Option<u64> {
    match value {
        Value::Number(seconds) => seconds.checked_mul(1_000_000),
        Value::Small { number, .. } => u64::try_from(*number).ok()?.checked_mul(1_000_000),
        Value::Double(bits) => {
            let seconds = f64::from_bits(*bits);
            (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1e6) as u64)
        }
        _ => None,
    }
}

fn number(letters: &str, text: &str) -> Parsed {
    let whole = || -> std::result::Result<i128, String> {
        let (digits, negative) =
            text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
        let parsed = match digits.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        let parsed = parsed.map_err(|_| format!("{text:?} is not a number"))?;
        Ok(if negative { -parsed } else { parsed })
    };
    let within = |low: i128, high: i128| -> std::result::Result<i128, String> {
        let number = whole()?;
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{text} is out of range"))
        }
    };
    let small = |kind: char, low: i64, high: i64| -> Parsed {
        let number = within(low.into(), high.into())?;
        Ok(Value::Small { kind, number: i64::try_from(number).unwrap_or_default() })
    };
    match letters {
        "b" => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        "y" => small('y', 0, u8::MAX.into()),
        "n" => small('n', i16::MIN.into(), i16::MAX.into()),
        "q" => small('q', 0, u16::MAX.into()),
        "i" => small('i', i32::MIN.into(), i32::MAX.into()),
        "u" => small('u', 0, u32::MAX.into()),
        "x" => small('x', i64::MIN, i64::MAX),
        "t" => Ok(Value::Number(u64::try_from(within(0, u64::MAX.into())?).unwrap_or_default())),
        "d" => match text.parse::<f64>() {
            Ok(number) => Ok(Value::Double(number.to_bits())),
            Err(_) => Err(format!("{text:?} is not a number")),
        },
        other => Err(format!("the type {other:?} is not supported")),
    }
}

fn typed_text(letters: &str, text: &str) -> Parsed {
    if letters == "s" {
        return match word(text)? {
            (value, "") => Ok(Value::Text(value)),
            (_, rest) => Err(format!("{rest:?} after the value")),
        };
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let mut rest = inner.ok_or("a list without an end")?.trim();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (value, after) = word(rest)?;
        words.push(value);
        rest = match after.trim_start() {
            "" => "",
            after => {
                after.strip_prefix(',').ok_or("words without a comma between them")?.trim_start()
            }
        };
    }
    Ok(Value::Texts(words))
}

/// Reads one word in quotes and returns it with what comes after it.
fn word(text: &str) -> std::result::Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let Some((_, quote @ ('\'' | '"'))) = chars.next() else {
        return Err(format!("{text:?} is not in quotes"));
    };
    let mut value = String::new();
    while let Some((at, letter)) = chars.next() {
        match letter {
            '\\' => match chars.next().map(|(_, letter)| letter) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(letter @ ('\\' | '\'' | '"')) => value.push(letter),
                _ => return Err("an escape that is not supported".into()),
            },
            letter if letter == quote => return Ok((value, &text[at + 1..])),
            letter => value.push(letter),
        }
    }
    Err("a word without an end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let small = |kind, number| Value::Small { kind, number };
        let texts =
            |list: &[&str]| Value::Texts(list.iter().map(|word| (*word).to_owned()).collect());
        for (text, want) in [
            ("'a b'", Value::Text("a b".into())),
            (r#""it's""#, Value::Text("it's".into())),
            (r"'it\'s'", Value::Text("it's".into())),
            ("true", Value::Bool(true)),
            ("5", small('i', 5)),
            ("-5", small('i', -5)),
            ("0x10", small('i', 16)),
            ("uint64 7", Value::Number(7)),
            ("@t 7", Value::Number(7)),
            ("byte 255", small('y', 255)),
            ("1.5", Value::Double(1.5f64.to_bits())),
            ("['a', \"b\"]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&want), "{text}");
        }
        for text in [
            "",
            "'a",
            "a",
            "5x",
            "byte 256",
            "uint64 -1",
            "['a' 'b']",
            "['a'",
            "@a{sv} {}",
            "'a' b",
            "3000000000",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        assert_eq!(micros(&Value::Double(1.5f64.to_bits())), Some(1_500_000));
        assert_eq!(micros(&Value::Small { kind: 'i', number: -1 }), None);
        assert_eq!(micros(&Value::Number(u64::MAX)), None);
    }
}

//! Reads anything as the runtime's command line, one word a line; `--name=value` and `--name value` are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::args::{Words, parse, switch, valued};
use runtime::doors::command_line;

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    let _ = command_line(&words);
    let known = [valued("value", 'v', "a value"), switch("switch", 's', "a switch")];
    let first = words.first().cloned().unwrap_or_default();
    let joined = parse(&known, &[vec![format!("--value={first}")], words.clone()].concat(), Words::First);
    let apart = parse(
        &known,
        &[vec!["--value".to_owned(), first.clone()], words.clone()].concat(),
        Words::First,
    );
    match (joined, apart) {
        (Ok(joined), Ok(apart)) => {
            assert_eq!(joined, apart);
            assert!(joined.values("value").any(|value| value == first));
            // What follows the first word is another program's.
            assert!(words.ends_with(&joined.words));
        }
        (Err(_), Err(_)) => {}
        (joined, apart) => panic!("{joined:?} is not {apart:?}"),
    }
});

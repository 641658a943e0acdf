//! What every user of the records relies on.

use std::fs;
use std::path::Path;

use db::{Damaged, Db, Error, Table};

use crate::crash::at_every_step;

type Opened = Result<(Db, Vec<Damaged>), Error>;
type Open<'a> = &'a dyn Fn(&Path) -> Opened;

/// Runs the whole suite; `open` opens the records below a directory.
pub fn db_suite(open: impl Fn(&Path) -> Opened) {
    records_are_put_read_listed_and_removed(&open);
    any_key_is_a_key(&open);
    damaged_records_are_set_aside(&open);
    records_that_do_not_fit_are_set_aside(&open);
    a_stop_at_any_step_leaves_the_old_or_the_new_record(&open);
}

fn names(open: Open<'_>, root: &Path) -> Table<String> {
    let (db, damaged) = open(root).expect("open");
    assert_eq!(damaged, []);
    let (table, damaged) = db.images().expect("table");
    assert_eq!(damaged, []);
    table
}

fn with_root(test: impl Fn(&Path)) {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    test(root.path());
}

fn records_are_put_read_listed_and_removed(open: Open<'_>) {
    with_root(|root| {
        let table = names(open, root);
        assert!(table.is_empty());
        table.put("a", &"1".to_owned()).expect("put");
        table.put_durable("b", &"2".to_owned()).expect("put");
        table.put("a", &"3".to_owned()).expect("replace");
        assert_eq!(table.get("a").as_deref().map(String::as_str), Some("3"));
        assert_eq!(table.clone().len(), 2);
        let again = names(open, root);
        let all: Vec<_> = again.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(all, ["a=3", "b=2"]);
        assert!(again.remove("a").expect("remove"));
        assert!(!again.remove("a").expect("remove again"));
        assert!(!names(open, root).contains("a"));
    });
}

fn any_key_is_a_key(open: Open<'_>) {
    with_root(|root| {
        let table = names(open, root);
        let long = "x".repeat(5000);
        let keys = [
            "",
            ".",
            "..",
            "../../x",
            "docker.io/library/a:1",
            "ü/\0\n",
            ".tmp-x",
            "a.json",
            &long,
        ];
        for key in keys {
            table.put(key, &key.to_owned()).expect("put");
        }
        let again = names(open, root);
        assert_eq!(again.len(), keys.len());
        for key in keys {
            assert_eq!(again.get(key).as_deref().map(String::as_str), Some(key));
            assert!(again.remove(key).expect("remove"));
        }
        assert_eq!(fs::read_dir(root.join("images")).expect("list").count(), 0);
    });
}

fn damaged_records_are_set_aside(open: Open<'_>) {
    with_root(|root| {
        let table = names(open, root);
        for key in ["good", "torn", "flipped", "empty"] {
            table.put(key, &"value of it".to_owned()).expect("put");
        }
        let path = |key: &str| root.join("images").join(format!("{key}.json"));
        let mut bytes = fs::read(path("flipped")).expect("read");
        fs::write(path("torn"), &bytes[..bytes.len() / 2]).expect("tear");
        let at = bytes.len() - 5;
        bytes[at] ^= 4;
        fs::write(path("flipped"), bytes).expect("flip");
        fs::write(path("empty"), b"").expect("empty");
        let (db, damaged) = open(root).expect("open");
        let named: Vec<_> = damaged.iter().map(|damaged| damaged.path.clone()).collect();
        let expected: Vec<_> = ["empty", "flipped", "torn"]
            .map(|key| root.join("images").join(format!("{key}.json.damaged")))
            .to_vec();
        assert_eq!(named, expected);
        assert!(named.iter().all(|path| path.exists()));
        assert!(
            damaged[0].to_string().ends_with("empty.json.damaged`: torn: no end of its first line")
        );
        let (table, damaged) = db.images::<String>().expect("table");
        assert_eq!((table.len(), damaged.len()), (1, 0));
        table.put("torn", &"again".to_owned()).expect("the name is free");
        names(open, root);
    });
}

fn records_that_do_not_fit_are_set_aside(open: Open<'_>) {
    with_root(|root| {
        let (db, _) = open(root).expect("open");
        let (numbers, _) = db.volumes::<u32>().expect("table");
        numbers.put("a", &1).expect("put");
        let (texts, _) = db.table::<String>("volumes-of-texts").expect("table");
        texts.put("b", &"x".to_owned()).expect("put");
        let record = root.join("volumes-of-texts/b.json");
        fs::rename(record, root.join("volumes/b.json")).expect("rename");
        let (db, damaged) = open(root).expect("open");
        assert_eq!(damaged, [], "both are JSON");
        let (table, damaged) = db.volumes::<u32>().expect("table");
        assert_eq!(table.get("a").as_deref(), Some(&1));
        assert_eq!(damaged.len(), 1);
        assert!(damaged[0].why.starts_with("value: invalid type: string"), "{}", damaged[0]);
    });
}

fn a_stop_at_any_step_leaves_the_old_or_the_new_record(open: Open<'_>) {
    let arrange = |root: &Path| {
        let table = names(open, root);
        for key in ["other", "changed", "removed"] {
            table.put_durable(key, &"old".to_owned()).expect("put");
        }
    };
    let act = |root: &Path| -> Result<(), Error> {
        let (table, _) = open(root)?.0.images::<String>()?;
        table.put("changed", &"new".to_owned())?;
        table.put_durable("added", &"new".to_owned())?;
        table.remove("removed").map(drop)
    };
    let check = |root: &Path, done: bool| {
        let table = names(open, root);
        let value = |key: &str| table.get(key).as_deref().cloned();
        let (old, new) = (Some("old".to_owned()), Some("new".to_owned()));
        assert_eq!(value("other"), old);
        assert!([&old, &new].contains(&&value("changed")));
        assert!([&None, &new].contains(&&value("added")));
        assert!([&None, &old].contains(&&value("removed")));
        if done {
            assert_eq!(
                (value("changed"), value("added"), value("removed")),
                (new.clone(), new, None)
            );
        }
        let left = fs::read_dir(root.join("images")).expect("list").count();
        assert_eq!(left, table.len(), "temporaries are swept");
    };
    let steps = at_every_step(arrange, act, check);
    assert!(steps >= 8, "{steps} steps");
}

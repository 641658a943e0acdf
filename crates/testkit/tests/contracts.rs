//! The contract suites, run on the rooms themselves.

#[test]
fn content_keeps_its_contract() {
    testkit::content_suite::content_suite(|root| content::Store::open(root));
}

#[test]
fn db_keeps_its_contract() {
    testkit::db_suite::db_suite(|root| db::Db::open(root));
}

#[test]
fn snapshot_keeps_its_contract() {
    testkit::snapshot_suite::snapshot_suite(|root| snapshot::Store::open(root));
}

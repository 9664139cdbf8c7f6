//! The domain is pure: it names no runtime, no database, no broker and no web.

use std::path::Path;

const IMPURE: [&str; 4] = ["tokio", "sqlx", "lapin", "axum"];

#[test]
fn the_domain_names_no_runtime_database_broker_or_web() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("domain.rs")];
    let mut folders = vec![source.join("domain")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 10, "the domain is somewhere else now");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, text) in (1..).zip(text.lines()) {
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            for word in words {
                assert!(!IMPURE.contains(&word), "{}:{line} names {word}", file.display());
            }
        }
    }
}

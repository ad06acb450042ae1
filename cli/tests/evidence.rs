//! docs/evidence.md holds the tables that its commands make of the runs in evidence/.

mod support;

use std::path::{Path, PathBuf};

use support::Folder;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn the_tables_of_the_page_are_those_of_the_runs() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/evidence.md")).unwrap();
    let mut rows = 0;
    for study in ["lesions", "folders"] {
        let folder = Folder::new();
        copy(&root.join("evidence").join(study).join("runs"), &folder.path("runs"));
        let plan = root.join("evidence").join(format!("{study}.toml"));
        folder.printed(&["study", plan.to_str().unwrap(), "--out", ".", "--report"]);
        for line in folder.text("tables.md").lines() {
            assert!(page.contains(line), "docs/evidence.md lacks {line:?} of {study}; see how its tables are made there");
            rows += 1;
        }
    }
    assert!(rows > 50);
}

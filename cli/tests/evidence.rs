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
    for (study, of) in [("lesions", "lesions"), ("folders", "folders"), ("others-lesions", "lesions")] {
        let folder = Folder::new();
        copy(&root.join("evidence").join(of).join("runs"), &folder.path("runs"));
        let plan = root.join("evidence").join(format!("{study}.toml"));
        folder.printed(&["study", plan.to_str().unwrap(), "--out", ".", "--report"]);
        for (i, table) in folder.text("tables.md").split("\n**").enumerate() {
            let table = format!("{}{}", if i > 0 { "**" } else { "" }, table.trim_end());
            assert!(page.contains(&table), "docs/evidence.md lacks this of {study}; its commands make it:\n{table}");
            rows += table.lines().filter(|line| line.starts_with("| `")).count();
        }
    }
    assert!(rows >= 7 * 8, "{rows}");
}

//! Label maps of single files, and those of a folder.

use std::path::{Path, PathBuf};

use segloss_data::{Limits, label_files, read_labels, value_text};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

/// `.npy` of uint8.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}");
    [b"\x93NUMPY\x01\x00", &[header.len() as u8, 0][..], header.as_bytes(), values].concat()
}

#[test]
fn labels_stand_as_in_the_file_with_its_spacing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    std::fs::write(&path, npy("(2, 3)", &[0, 1, 7, 255, 1, 0])).unwrap();
    let map = read_labels(&path, None, &Limits::default()).unwrap();
    assert_eq!(map.labels, ndarray::arr2(&[[0, 1, 7], [255, 1, 0]]).into_dyn());
    assert_eq!(map.header.spacing, None);
    let map = read_labels(&path, Some(7.0), &Limits::default()).unwrap();
    assert_eq!(map.labels, ndarray::arr2(&[[0, 0, 1], [1, 0, 0]]).into_dyn());

    let volume = read_labels(&file("int16.nii"), None, &Limits::default()).unwrap();
    assert_eq!(volume.labels.shape(), &volume.header.size[..]);
    assert_eq!(volume.header.spacing.map(|spacing| spacing.len()), Some(volume.labels.ndim()));
}

#[test]
fn colours_are_labels_of_their_own() {
    let map = read_labels(&file("rgb.png"), None, &Limits::default()).unwrap();
    assert_eq!(map.labels.shape(), &map.header.size[..]);
    assert!(map.labels.iter().any(|label| value_text(*label).starts_with('#')));
    let error = read_labels(&file("rgb.png"), Some(1.0), &Limits::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("rgb.png: has 3 channels where one of labels is expected; save the class of each pixel"),
        "{error}"
    );
}

#[test]
fn numbers_that_are_no_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shares.npy");
    let bytes = npy("(1,)", &0.5f32.to_le_bytes());
    let at = bytes.windows(3).position(|three| three == b"|u1").unwrap();
    std::fs::write(&path, [&bytes[..at], b"<f4", &bytes[at + 3..]].concat()).unwrap();
    let error = read_labels(&path, None, &Limits::default()).unwrap_err().to_string();
    assert!(error.ends_with("which is no class; say from where on pixels are foreground with --threshold"), "{error}");
}

#[test]
fn files_of_a_folder_by_name_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["b/scan.npy", "a.npy", ".hidden.npy", "notes.txt"] {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), npy("(1, 1)", &[0])).unwrap();
    }
    let found: Vec<(String, PathBuf)> = label_files(root).unwrap();
    assert_eq!(found, [("a".into(), root.join("a.npy")), ("b/scan".into(), root.join("b/scan.npy"))]);
    std::fs::write(root.join("a.png"), []).unwrap();
    let error = label_files(root).unwrap_err().to_string();
    assert!(error.ends_with(": holds both a.npy and a.png; leave one of them"), "{error}");
}

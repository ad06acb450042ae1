//! Runs the command in a folder of its own, and makes files for it.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use image::GrayImage;
use ndarray::{Array, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};
use serde_json::Value;
use tempfile::TempDir;

/// A folder that vanishes. The command runs in it, so that its messages hold no machine's paths.
pub struct Folder(TempDir);

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A place in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts bytes there.
    pub fn bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts an array there.
    pub fn array<E: WritableElement, D: Dimension>(&self, name: &str, array: &Array<E, D>) {
        self.bytes(name, &npy(array));
    }

    /// Puts a grey picture there.
    pub fn picture(&self, name: &str, [height, width]: [u32; 2], value: impl Fn(u32, u32) -> u8) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        GrayImage::from_fn(width, height, |x, y| image::Luma([value(y, x)])).save(self.path(name)).unwrap();
    }

    /// What a file holds.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// All files below, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(root).unwrap().display().to_string());
                if path.is_dir() {
                    walk(&path, root, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(self.0.path(), self.0.path(), &mut found);
        found.sort();
        found
    }

    /// The command, ready to run here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segloss"));
        command.args(args).current_dir(self.0.path()).env("RUST_BACKTRACE", "1");
        command
    }

    /// Runs it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it to success and gives what it printed.
    pub fn printed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (utf8(output.stdout), utf8(output.stderr));
        assert!(output.status.success(), "{args:?}: {err}");
        assert_eq!(err, "", "{args:?}");
        out
    }

    /// Runs it to success and gives the JSON it printed.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.printed(args)).unwrap()
    }

    /// Starts it and kills it, so that nothing of it can tidy up, once `when` says so.
    #[cfg(unix)]
    pub fn killed(&self, args: &[&str], mut when: impl FnMut() -> bool) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_segloss"));
        let quiet = command.args(args).current_dir(self.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(120);
        while !when() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < limit, "nothing happens");
            std::thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL; a process that has ended already is none the worse.
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Runs it to a refusal: exit code 2, exactly this line, and nothing else anywhere.
    pub fn refuses(&self, args: &[&str], line: &str) {
        let before = self.files();
        let output = self.run(args);
        assert_eq!(utf8(output.stderr), format!("error: {line}\n"), "{args:?}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(utf8(output.stdout), "", "{args:?}");
        assert_eq!(self.files(), before, "{args:?}");
    }
}

/// An array as a file.
pub fn npy<E: WritableElement, D: Dimension>(array: &Array<E, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

/// A file with a header and data of one's own.
pub fn npy_by_hand(descriptor: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
}

/// A NIfTI file of 8 bits; lengths and millimetres of the fastest axis first.
pub fn nifti(lengths: [u16; 3], spacing: [f32; 3], labels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348_i32.to_le_bytes());
    put(40, &3_u16.to_le_bytes());
    for (axis, (length, spacing)) in lengths.into_iter().zip(spacing).enumerate() {
        put(42 + 2 * axis, &length.to_le_bytes());
        put(80 + 4 * axis, &spacing.to_le_bytes());
    }
    // uint8 of 8 bits; data at 352; millimetres.
    put(70, &2_u16.to_le_bytes());
    put(72, &8_u16.to_le_bytes());
    put(108, &352_f32.to_le_bytes());
    put(123, &[2]);
    put(344, b"n+1");
    bytes.extend(labels);
    bytes
}

/// Text from bytes.
pub fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A number of a JSON document.
pub fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} of {json}"))
}

/// Bright squares on dark: what a network learns in seconds.
pub fn square(folder: &Folder, name: &str, at: u32) {
    let inside = |y: u32, x: u32| (at..at + 10).contains(&y) && (at + 3..at + 12).contains(&x);
    folder.picture(&format!("{name}_image.png"), [32, 28], |y, x| if inside(y, x) { 200 } else { (x + y) as u8 });
    folder.picture(&format!("{name}_mask.png"), [32, 28], |y, x| inside(y, x).into());
}

/// A folder with training data in `data` and a network in `run`.
pub fn trained() -> Folder {
    let folder = Folder::new();
    for (i, name) in ["a", "b", "c", "d"].iter().enumerate() {
        square(&folder, &format!("data/{name}"), 2 + 3 * i as u32);
    }
    let args = ["train", "--data", "data", "--epochs", "4", "--steps", "6", "--batch", "4", "--patch", "32", "--width", "4"];
    folder.printed(&[&args[..], &["--out", "run"]].concat());
    folder
}

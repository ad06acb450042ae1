//! `segloss eval` on arrays as people have them: archives, NIfTI, probabilities, values below the
//! total, and how much memory it takes.

#[path = "../../conformance-tests/tests/beside/mod.rs"]
mod beside;
mod support;

use std::path::Path;

use ndarray::{Array1, Array4, arr2, arr3};
use segloss_data::formats::read_array;
use segloss_data::{Array, Limits};
use serde_json::Value;

use support::{Folder, npy_by_hand, number};

/// An archive as `numpy.savez` writes it.
fn npz(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let name = format!("{name}.npy");
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = (bytes.len() as u32).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        let common =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &crc.sum().to_le_bytes(), &size, &size, &length, &[0, 0]].concat();
        let at = (all.len() as u32).to_le_bytes();
        all.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02", &[20, 0][..], &common, &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let [size, at] = [directory.len(), all.len()].map(|n| (n as u32).to_le_bytes());
    [all, directory, [b"PK\x05\x06", &[0; 4][..], &count, &count, &size, &at, &[0, 0]].concat()].concat()
}

/// A NIfTI file of little-endian numbers, the first axis the fastest.
fn nifti(axes: &[i16], kind: i16, widths: [f32; 3], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    bytes[40..42].copy_from_slice(&(axes.len() as i16).to_le_bytes());
    for (i, axis) in axes.iter().enumerate() {
        bytes[42 + 2 * i..44 + 2 * i].copy_from_slice(&axis.to_le_bytes());
    }
    bytes[70..72].copy_from_slice(&kind.to_le_bytes());
    for (i, width) in widths.iter().enumerate() {
        bytes[80 + 4 * i..84 + 4 * i].copy_from_slice(&width.to_le_bytes());
    }
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[123] = 2;
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes.extend(data);
    bytes
}

const FILES: &[&str] = &["eval", "--loss", "ce", "--logits", "z.npy", "--target", "y.npy"];

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} is not {expected}");
}

fn quarters() -> Folder {
    let folder = Folder::new();
    let l = 3f64.ln();
    folder.array("z.npy", &arr3(&[[[0.0, 0.0, 0.0, 0.0], [-l, l, -l, -l]]]));
    folder.array("y.npy", &arr2(&[[0u8, 1, 1, 0]]));
    folder
}

/// By hand: -(3 log 3/4 + log 1/4) / 4.
fn of_quarters() -> f64 {
    -(3.0 * 0.75f64.ln() + 0.25f64.ln()) / 4.0
}

#[test]
fn the_rule_of_leaving_out() {
    beside::rule();
}

#[test]
fn an_array_of_an_archive() {
    let folder = quarters();
    let [z, y] = ["z.npy", "y.npy"].map(|name| std::fs::read(folder.path(name)).unwrap());
    folder.bytes("both.npz", &npz(&[("logits", z.clone()), ("labels", y.clone())]));
    folder.bytes("one.npz", &npz(&[("arr_0", z)]));
    let json =
        |logits: &str, target: &str| folder.json(&["eval", "--loss", "ce", "--json", "--logits", logits, "--target", target]);
    close(number(&json("both.npz:logits", "both.npz:labels"), "/total"), of_quarters());
    close(number(&json("one.npz", "y.npy"), "/total"), of_quarters());
    let text = folder.printed(&["eval", "--loss", "ce", "--logits", "one.npz", "--target", "both.npz:labels"]);
    assert!(text.contains("logits    one.npz:arr_0  float64 [1, 2, 4]\ntarget    both.npz:labels  labels [1, 4]\n"), "{text}");
    let refused =
        |logits: &str, line: &str| folder.refuses(&["eval", "--loss", "ce", "--logits", logits, "--target", "y.npy"], line);
    refused("both.npz", "both.npz: an .npz archive of several arrays (logits, labels); say which is meant as FILE:NAME");
    refused("both.npz:Logits", "both.npz: holds no array Logits; it holds logits, labels");
    refused("z.npy:logits", "z.npy: holds one array, which has no name; leave :logits away");
    refused("none.npz:a", "none.npz: no such file or directory");
}

#[test]
fn archives_under_another_name_and_old_headers_of_reports() {
    beside::rule();
    let place = beside::SHARED;
    let Some(place) = beside::beside("reports/eval") else {
        eprintln!("left out: there is no {place}/reports/eval");
        return;
    };
    let folder = Folder::new();
    for name in ["e21", "e37"] {
        let [z, y] = ["z", "y"].map(|part| place.join(format!("{name}_{part}.npy")).display().to_string());
        let json = folder.json(&["eval", "--loss", "ce", "--json", "--logits", &z, "--target", &y]);
        // The same numbers, from a header of today.
        let raw = std::fs::read(&z).unwrap();
        let data = if name == "e21" {
            let raster = read_array(Path::new(&z), Some("arr_0"), false, &Limits::default()).unwrap();
            let Array::F32(values) = raster.values else { panic!("float32") };
            values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()
        } else {
            raw[128..].to_vec()
        };
        folder.bytes("z.npy", &npy_by_hand("<f4", "False", "(2, 3, 8, 8)", &data));
        let same = folder.json(&["eval", "--loss", "ce", "--json", "--logits", "z.npy", "--target", &y]);
        assert_eq!(json, same, "{name}");
        assert!(number(&json, "/total") > 0.1, "{name}");
    }
}

#[test]
fn headers_of_python_2_double_quotes_and_bfloat16() {
    let folder = quarters();
    let header = |text: &str, data: &[u8]| {
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
    };
    let (zeros, l) = ([0.0f32; 4], 3f32.ln());
    let values: Vec<f32> = zeros.into_iter().chain([-l, l, -l, -l]).collect();
    let f4: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let v2: Vec<u8> = values.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    for (text, data, by) in [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L, 4L), }\n", &f4, 1e-6),
        ("{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (1, 2, 4)}\n", &f4, 1e-6),
        ("{'descr': '<V2', 'fortran_order': False, 'shape': (1, 2, 4), }\n", &v2, 5e-3),
    ] {
        folder.bytes("z.npy", &header(text, data));
        let total = number(&folder.json(&[FILES, &["--json"]].concat()), "/total");
        assert!((total - of_quarters()).abs() < by, "{text}: {total}");
    }
}

#[test]
fn nifti_is_one_sample_with_its_axes_reversed() {
    let folder = Folder::new();
    // 3 × 2 × 1 voxels and two classes: class 1 is the voxel x = 2, y = 1, whose logit is 5.
    let mut logits = [0f32; 12];
    logits[6 + 5] = 5.0;
    let logits: Vec<u8> = logits.iter().flat_map(|v| v.to_le_bytes()).collect();
    folder.bytes("z.nii", &nifti(&[3, 2, 1, 2], 16, [0.5, 0.75, 2.0], &logits));
    folder.bytes("y.nii", &nifti(&[3, 2, 1], 2, [0.5, 0.75, 2.0], &[0, 0, 0, 0, 0, 1]));
    let expected = (5.0 * 2f64.ln() + (-5f64).exp().ln_1p()) / 6.0;
    let text = folder.printed(&["eval", "--loss", "ce", "--logits", "z.nii", "--target", "y.nii"]);
    assert!(text.contains("logits    z.nii  float32 [1, 2, 2, 3]\ntarget    y.nii  labels [1, 2, 3]\n"), "{text}");
    assert!(text.contains("spacing   0.75,0.5 of y.nii\n"), "{text}");
    let total = |more: &[&str]| number(&folder.json(&[&["eval", "--loss", "ce", "--json"], more].concat()), "/total");
    close(total(&["--logits", "z.nii", "--target", "y.nii"]), expected);
    // Labels that were saved as floats, and arrays without samples beside NIfTI.
    let floats: Vec<u8> = [0f64, 0.0, 0.0, 0.0, 0.0, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    folder.bytes("f.nii", &nifti(&[3, 2, 1], 64, [0.5, 0.75, 2.0], &floats));
    close(total(&["--logits", "z.nii", "--target", "f.nii"]), expected);
    let mut z = ndarray::Array3::<f32>::zeros((2, 2, 3));
    z[[1, 1, 2]] = 5.0;
    folder.array("z.npy", &z);
    close(total(&["--logits", "z.npy", "--target", "y.nii"]), expected);
    let text = folder.printed(&["eval", "--loss", "ce", "--logits", "z.npy", "--target", "y.nii"]);
    assert!(text.contains("note      z.npy: [2, 2, 3] is taken as one sample, as NIfTI beside it is\n"), "{text}");
    folder.bytes("other.nii", &nifti(&[3, 2, 1], 2, [0.5, 1.0, 2.0], &[0; 6]));
    let line = "other.nii: its spacing is 1,0.5, but z.nii has 0.75,0.5; bring both onto one grid first";
    folder.refuses(&["eval", "--loss", "ce", "--logits", "z.nii", "--target", "other.nii"], line);
    let half: Vec<u8> = [0f64, 0.0, 0.0, 0.0, 0.0, 0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    folder.bytes("f.nii", &nifti(&[3, 2, 1], 64, [0.5, 0.75, 2.0], &half));
    let line = "f.nii: holds 0.5 at [0, 1, 2], which is no class; soft targets have a channel for each class";
    folder.refuses(&["eval", "--loss", "ce", "--logits", "z.nii", "--target", "f.nii"], line);
}

#[test]
fn spacing_of_a_header_counts_unless_another_is_given() {
    let folder = Folder::new();
    let logits: Vec<u8> = (0..16).flat_map(|i| (f64::from(i) * 0.1).sin().to_le_bytes()).collect();
    folder.bytes("z.nii", &nifti(&[4, 2, 1, 2], 64, [0.5, 3.0, 1.0], &logits));
    folder.bytes("y.nii", &nifti(&[4, 2, 1], 2, [0.5, 3.0, 1.0], &[0, 0, 1, 1, 0, 1, 0, 0]));
    let total = |more: &[&str]| {
        let args = ["eval", "--loss", "boundary", "--json", "--logits", "z.nii", "--target", "y.nii"];
        number(&folder.json(&[&args[..], more].concat()), "/total")
    };
    close(total(&[]), total(&["--spacing", "3,0.5"]));
    assert!((total(&[]) - total(&["--spacing", "1,1"])).abs() > 1e-3);
}

#[test]
fn probabilities_are_what_their_logits_are() {
    let folder = quarters();
    let from = &["--from", "probabilities", "--json"];
    folder.array("z.npy", &arr3(&[[[0.75, 0.25, 0.75, 0.75], [0.25, 0.75, 0.25, 0.25]]]));
    let json = folder.json(&[FILES, from].concat());
    close(number(&json, "/total"), of_quarters());
    assert_eq!(json.get("data_notes"), None);
    // Exactly 0 and 1, right and wrong.
    folder.array("z.npy", &arr3(&[[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]]));
    let json = folder.json(&[FILES, from].concat());
    assert_eq!(number(&json, "/total"), 0.0);
    assert_eq!((number(&json, "/regions/1/predicted"), number(&json, "/regions/1/dice")), (0.5, 1.0));
    folder.array("z.npy", &arr3(&[[[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]]]));
    let json = folder.json(&[FILES, from].concat());
    assert_eq!(number(&json, "/total"), 256.0);
    let note = "at 1 places, the first at [0, 1, 2], a probability is exactly 0 where the target has a share, or 1 where it has \
                none: a logarithm there is infinite, and counts as -1024";
    assert_eq!(json["data_notes"], serde_json::json!([note]));
    // Dice knows no logarithm: 2 · 1 / (1 + 2).
    close(number(&json, "/regions/1/dice"), 2.0 / 3.0);
}

#[test]
fn probabilities_of_channels_that_stand_for_themselves() {
    let folder = Folder::new();
    folder.array("z.npy", &arr2(&[[0.75], [0.5], [0.0], [1.0]]));
    folder.array("y.npy", &Array1::from(vec![1u8, 0, 0, 1]));
    let json = folder.json(&[FILES, &["--from", "probabilities", "--activation", "sigmoid", "--json"]].concat());
    close(number(&json, "/total"), -(0.75f64.ln() + 0.5f64.ln()) / 4.0);
}

#[test]
fn what_is_no_probability_is_refused_where_it_counts() {
    let folder = quarters();
    let from = &["--from", "probabilities"];
    folder.array("z.npy", &arr3(&[[[0.75, 0.25, 0.5, 0.0], [0.25, 0.75, 0.4, 0.0]]]));
    let line = "z.npy: probabilities of sample 0 at [2] add up to 0.900000, under softmax to 1; channels that stand each for itself \
                need --activation sigmoid";
    folder.refuses(&[FILES, from].concat(), line);
    // Padding of zeros that is ignored, or weighs nothing.
    folder.array("z.npy", &arr3(&[[[0.75, 0.25, 0.0, 0.0], [0.25, 0.75, 0.0, 0.0]]]));
    folder.array("y.npy", &arr2(&[[0u8, 1, 255, 255]]));
    let json = folder.json(&[FILES, from, &["--ignore-index", "255", "--json"]].concat());
    close(number(&json, "/total"), -0.75f64.ln());
    folder.array("y.npy", &arr2(&[[0u8, 1, 0, 0]]));
    folder.array("w.npy", &arr2(&[[1f32, 1.0, 0.0, 0.0]]));
    let json = folder.json(&[FILES, from, &["--weights", "w.npy", "--json"]].concat());
    close(number(&json, "/total"), -0.75f64.ln());
    folder.array("z.npy", &arr3(&[[[2.0, 0.25, 0.0, 0.0], [0.25, 0.75, 0.0, 0.0]]]));
    folder.refuses(&[FILES, from].concat(), "z.npy: holds 2.0 at [0, 0, 0], which is no probability; logits need no --from");
    folder.array("z.npy", &arr3(&[[[f64::NAN, 0.25, 0.0, 0.0], [0.25, 0.75, 0.0, 0.0]]]));
    folder.refuses(&[FILES, from].concat(), "z.npy: holds NaN at [0, 0, 0], which is no probability; logits need no --from");
}

/// Two samples of two classes and three pixels.
fn two_samples() -> Folder {
    let folder = Folder::new();
    let z = Array4::from_shape_fn((2, 2, 1, 3), |(n, k, _, s)| (1.0 + n as f64) * k as f64 * (s as f64 - 0.7));
    folder.array("z.npy", &z);
    folder.array("y.npy", &arr3(&[[[0u8, 1, 1]], [[1, 1, 0]]]));
    folder
}

#[test]
fn values_below_the_total() {
    let folder = two_samples();
    let z = |n: usize, s: usize| (1.0 + n as f64) * (s as f64 - 0.7);
    let labels = [[0, 1, 1], [1, 1, 0]];
    let ce = |n: usize, s: usize| if labels[n][s] == 1 { (-z(n, s)).exp().ln_1p() } else { z(n, s).exp().ln_1p() };
    let args =
        ["eval", "--loss", "ce + dice + focal(activation=softmax, pooling=sample)", "--logits", "z.npy", "--target", "y.npy"];
    let json = folder.json(&[&args[..], &["--elements", "e.npz", "--json"]].concat());
    let array = |name: &str| {
        let raster = read_array(&folder.path("e.npz"), Some(name), false, &Limits::default()).unwrap();
        (raster.values.shape().to_vec(), raster.values.floats().into_iter().collect::<Vec<_>>())
    };
    for (n, labels) in labels.iter().enumerate() {
        let mean = (0..3).map(|s| ce(n, s)).sum::<f64>() / 3.0;
        close(number(&json, &format!("/elements/samples/{n}/terms/0/value")), mean);
        close(array("ce_samples").1[n], mean);
        for k in 0..2 {
            let share = (0..3).filter(|&s| labels[s] == k).map(|s| ce(n, s)).sum::<f64>() / 6.0;
            close(number(&json, &format!("/elements/terms/0/classes/{n}/{k}")), share);
        }
    }
    let (shape, pixels) = array("ce_pixels");
    assert_eq!(shape, [2, 1, 3]);
    for (i, &pixel) in pixels.iter().enumerate() {
        close(pixel, ce(i / 3, i % 3) / 6.0);
    }
    // Of the mean over samples a sample's pixels add up to its mean.
    let (_, pixels) = array("focal_pixels");
    for n in 0..2 {
        let p = |s: usize| (-ce(n, s)).exp();
        for s in 0..3 {
            close(pixels[3 * n + s], (1.0 - p(s)).powi(2) * ce(n, s) / 3.0);
        }
    }
    assert_eq!(array("dice_classes").0, [1, 2]);
    let error = read_array(&folder.path("e.npz"), Some("dice_pixels"), false, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("holds no array dice_pixels"), "{error}");
    let text = folder.printed(&[&args[..], &["--elements"]].concat());
    assert!(text.contains("each sample by itself\n"), "{text}");
}

#[test]
fn weights_ignored_pixels_and_class_weights_count_in_each_pixel() {
    let folder = two_samples();
    folder.array("w.npy", &arr3(&[[[1.0, 2.0, 0.5]], [[1.0, 0.0, 3.0]]]));
    folder.array("y.npy", &arr3(&[[[0u8, 1, 9]], [[1, 1, 0]]]));
    let args = ["eval", "--loss", "ce(class_weights=[1, 3])", "--logits", "z.npy", "--target", "y.npy", "--weights", "w.npy"];
    let more = ["--ignore-index", "9", "--elements", "e.npz", "--json"];
    let json = folder.json(&[&args[..], &more].concat());
    let raster = read_array(&folder.path("e.npz"), Some("ce_pixels"), false, &Limits::default()).unwrap();
    let pixels: Vec<f64> = raster.values.floats().into_iter().collect();
    close(pixels.iter().sum(), number(&json, "/total"));
    let z = |n: usize, s: usize| (1.0 + n as f64) * (s as f64 - 0.7);
    let raw = [z(0, 0).exp().ln_1p(), 6.0 * (-z(0, 1)).exp().ln_1p(), 0.0, 3.0 * (-z(1, 0)).exp().ln_1p(), 0.0];
    // The divisor is the weight of all: 1 + 2·3 + 1·3 + 3.
    for (pixel, raw) in pixels.iter().zip(raw) {
        close(*pixel, raw / 13.0);
    }
}

#[test]
fn places_for_elements_are_checked() {
    let folder = quarters();
    let refused = |more: &[&str], line: &str| folder.refuses(&[FILES, more].concat(), line);
    refused(&["--elements", "e.npy"], "--elements e.npy: arrays of several names go into a file that ends in .npz");
    refused(&["--elements", "e.npz", "--grad", "e.npz"], "--elements e.npz: is the file of --grad");
    refused(&["--elements", "no/e.npz"], "no/e.npz: no such file or directory");
}

/// The most memory that a finished run held, in bytes.
#[cfg(target_os = "linux")]
fn peak(folder: &Folder, args: &[&str]) -> u64 {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_segloss"))
        .args(args)
        .current_dir(folder.path("."))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) * 1024);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[cfg(target_os = "linux")]
#[test]
fn logits_are_in_memory_once() {
    let folder = Folder::new();
    let shape = (1, 4, 2048, 2048);
    folder.array("z.npy", &Array4::from_shape_fn(shape, |(_, k, y, x)| ((k + y * x) % 7) as f32));
    // int64 labels, as numpy has them by itself, take half of the logits in the file.
    folder.array("y.npy", &ndarray::Array3::from_shape_fn((1, 2048, 2048), |(_, y, x)| ((x + y) % 4) as i64));
    let small = quarters();
    let logits = 4 * 4 * 2048 * 2048;
    let args = ["eval", "--loss", "ce + dice", "--logits", "z.npy", "--target", "y.npy"];
    let taken = peak(&folder, &args) - peak(&small, &args);
    assert!(taken > logits, "{taken} bytes cannot hold the logits");
    assert!(taken * 10 < logits * 12, "{taken} bytes for {logits} of logits");
}

#[test]
fn nothing_is_told_that_was_not_asked_for() {
    let value: Value = two_samples().json(&["eval", "--loss", "ce", "--json", "--logits", "z.npy", "--target", "y.npy"]);
    let told = ["elements", "spacing", "data_notes"].map(|key| value.get(key));
    assert_eq!(told, [None; 3]);
}

#[test]
fn a_whole_number_beyond_int32_and_negative_labels_are_read() {
    let folder = quarters();
    folder.array("y.npy", &arr2(&[[0i64, 1, -1, 0]]));
    close(number(&folder.json(&[FILES, &["--ignore-index=-1", "--json"]].concat()), "/total"), -0.75f64.ln());
    folder.array("y.npy", &arr2(&[[0i64, 1, 1 << 40, 0]]));
    close(number(&folder.json(&[FILES, &["--ignore-index", "1099511627776", "--json"]].concat()), "/total"), -0.75f64.ln());
}

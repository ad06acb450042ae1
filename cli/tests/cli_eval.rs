//! `segloss eval`, end to end: numbers by hand, every backend there is, every refusal.

mod support;

use ndarray::{Array2, Array3, arr1, arr2, arr3};
use segloss::PRESETS;
use serde_json::Value;

use support::{Folder, npy, npy_by_hand, number};

/// Two classes and four pixels. With logits 0 and ±log 3, probabilities are 1/4 and 3/4: class 1
/// has 1/4, 3/4, 1/4, 1/4.
///
/// By hand: P = (2.5, 1.5), T = (2, 2), I = (1.5, 1).
fn quarters() -> Folder {
    let folder = Folder::new();
    let l = 3f64.ln();
    folder.array("z.npy", &arr3(&[[[0.0, 0.0, 0.0, 0.0], [-l, l, -l, -l]]]));
    folder.array("y.npy", &arr2(&[[0u8, 1, 1, 0]]));
    folder
}

/// With the feature `tch`, LibTorch too: `cargo xtask tch test --workspace --exclude backend-tch
/// --features segloss-cli/tch`.
const BACKENDS: &[&str] = if cfg!(feature = "tch") { &["ndarray", "burn", "tch"] } else { &["ndarray", "burn"] };

const FILES: &[&str] = &["eval", "--logits", "z.npy", "--target", "y.npy"];

/// Evaluates a loss on `z.npy` and `y.npy`.
fn eval(folder: &Folder, loss: &str, more: &[&str]) -> Value {
    folder.json(&[FILES, &["--loss", loss, "--json"], more].concat())
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn values_by_hand() {
    let folder = quarters();
    for &backend in BACKENDS {
        let json = eval(&folder, "ce + 2 * dice + 0.5 * l1(temperature=1)", &["--backend", backend]);
        let at = |pointer: &str| number(&json, pointer);

        let ce = -(3.0 * 0.75f64.ln() + 0.25f64.ln()) / 4.0;
        let kl = 0.5 * (0.5f64 / 0.625).ln() + 0.5 * (0.5f64 / 0.375).ln();
        let expected = [1.0, ce, ce - kl - 2f64.ln(), kl, 2f64.ln()];
        let parts = ["weight", "value", "matching", "size", "constant"];
        for (part, expected) in parts.iter().zip(expected) {
            close(at(&format!("/terms/0/{part}")), expected, 1e-12);
        }

        let dice = 1.0 - (2.0 / 3.0 + 4.0 / 7.0) / 2.0;
        // Of -log D: -log(I/T), log(P/4 + T/4), -log(2 T/4).
        let expected = [2.0, dice, -(0.75f64.ln() + 0.5f64.ln()) / 2.0, (1.125f64.ln() + 0.875f64.ln()) / 2.0, 0.0];
        for (part, expected) in parts.iter().zip(expected) {
            close(at(&format!("/terms/1/{part}")), expected, 1e-12);
        }

        // |2.5/4 - 1/2| for either class, but for the 1e-10 pixels of its smoothing.
        for (part, expected) in parts.iter().zip([0.5, 0.125, 0.0, 0.125, 0.0]) {
            close(at(&format!("/terms/2/{part}")), expected, 1e-10);
        }
        close(at("/total"), ce + 2.0 * dice + 0.0625, 1e-10);

        // Of class 1, P and I change by 3/4 and 3/8 per unit of shift, those of class 0 by as much
        // the other way.
        let dice = -((2.0 * 0.375 * 3.5 - 2.0 * 0.75) / 12.25 + (-2.0 * 0.375 * 4.5 + 3.0 * 0.75) / 20.25) / 2.0;
        let pressure = (0.375 - 0.5) + 2.0 * dice - 0.5 * 0.75 / 4.0;
        close(at("/pressure/total/1"), pressure, 1e-9);
        close(at("/pressure/total/0"), -pressure, 1e-9);
        close(at("/pressure/terms/1/1"), dice, 1e-12);

        for (class, [target, predicted, score]) in [[0.5, 0.625, 2.0 / 3.0], [0.5, 0.375, 4.0 / 7.0]].into_iter().enumerate() {
            for (key, expected) in [("class", class as f64), ("target", target), ("predicted", predicted), ("dice", score)] {
                close(at(&format!("/regions/{class}/{key}")), expected, 1e-12);
            }
        }
        let words = ["/backend", "/dtype", "/terms/0/name", "/terms/0/role", "/terms/1/role", "/terms/2/role"];
        let words = words.map(|pointer| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
        assert_eq!(words, [backend, "f64", "ce", "matching", "overlap", "size"]);
    }
}

#[test]
fn text_says_the_same() {
    let text = quarters().printed(&[FILES, &["--loss", "ce + 2*dice + 0.5*l1(temperature=1)"]].concat());
    assert_eq!(
        text,
        "\
loss      ce + 2 * dice + 0.5 * l1(temperature=1)
logits    z.npy  float64 [1, 2, 4]
target    y.npy  labels [1, 4]
computed  by ndarray in f64, softmax

  term    role      weight     value   matching       size  constant
  ce      matching       1  0.562335  -0.163081   0.032269  0.693147
  dice *  overlap        2  0.380952   0.490415  -0.007874  0.000000
  l1      size         0.5  0.125000              0.125000
  total                     1.386740
  * the parts are those of the logarithmic form, -log of the score

  class  true area  predicted area  soft Dice  pressure
  0       50.000 %        62.500 %     0.6667    0.2550
  1       50.000 %        37.500 %     0.5714   -0.2550
  pressure > 0: a step of gradient descent shrinks the region; < 0: it grows it
"
    );
}

#[test]
fn ignored_weighted_and_soft() {
    let folder = quarters();
    let ce = |p: &[f64]| -p.iter().map(|p| p.ln()).sum::<f64>() / p.len() as f64;
    let value = |more: &[&str]| number(&eval(&folder, "ce", more), "/total");
    close(value(&[]), ce(&[0.75, 0.75, 0.25, 0.75]), 1e-12);
    close(value(&["--ignore-index", "1"]), ce(&[0.75, 0.75]), 1e-12);
    folder.array("w.npy", &arr2(&[[0.0f32, 0.0, 2.0, 2.0]]));
    close(value(&["--weights", "w.npy"]), ce(&[0.25, 0.75]), 1e-12);
    folder.array("y.npy", &arr3(&[[[0.5, 0.0, 0.0, 0.0], [0.5, 1.0, 1.0, 1.0]]]));
    let cross = -(0.5 * 0.75f64.ln() + 0.5 * 0.25f64.ln() + 0.75f64.ln() + 2.0 * 0.25f64.ln()) / 4.0;
    close(value(&[]), cross, 1e-12);
}

#[test]
fn one_sigmoid_channel() {
    let folder = Folder::new();
    folder.array("z.npy", &arr2(&[[3f64.ln()], [0.0]]));
    folder.array("y.npy", &arr1(&[true, false]));
    for loss in ["ce with activation=sigmoid", "ce"] {
        let json = eval(&folder, loss, if loss == "ce" { &["--activation", "sigmoid"] } else { &[] });
        close(number(&json, "/total"), -(0.75f64.ln() + 0.5f64.ln()) / 2.0, 1e-12);
        assert_eq!(json["activation"], "sigmoid");
    }
}

#[test]
fn targets_as_they_come() {
    let folder = quarters();
    folder.array("w.npy", &arr2(&[[1.0f32, 0.5, 2.0, 0.25]]));
    let weighted = ["--weights", "w.npy"];
    let wanted: Vec<f64> =
        [&[][..], &weighted].iter().map(|more| number(&eval(&folder, "ce + dice", more), "/total")).collect();
    folder.array("w.npy", &arr3(&[[[1.0f32, 0.5, 2.0, 0.25]]]));
    for &backend in BACKENDS {
        let check = |kind: &str| {
            for (more, wanted) in [&[][..], &weighted].iter().zip(&wanted) {
                let more = [&["--backend", backend], *more].concat();
                close(number(&eval(&folder, "ce + dice", &more), "/total"), *wanted, 1e-12);
                let text = folder.printed(&[FILES, &["--loss", "ce"], &more].concat());
                assert!(text.contains(&format!("y.npy  {kind}")), "{text}");
            }
        };
        folder.array("y.npy", &arr3(&[[[0i64, 1, 1, 0]]]));
        check("labels [1, 1, 4]");
        folder.array("y.npy", &arr3(&[[[1i64, 0, 0, 1], [0, 1, 1, 0]]]));
        check("one-hot [1, 2, 4]");
        folder.array("y.npy", &arr3(&[[[true, false, false, true], [false, true, true, false]]]));
        check("one-hot [1, 2, 4]");
        // Out by rounding, in f32.
        folder.array("y.npy", &arr3(&[[[1.0000001f32, 0.0, 0.0, 1.0], [0.0, 0.9999999, 1.0, 0.0]]]));
        let soft = number(&eval(&folder, "ce + dice", &["--backend", backend]), "/total");
        close(soft, wanted[0], 1e-6);
        folder.array("y.npy", &arr3(&[[[255u8, 0, 0, 255], [0, 255, 255, 0]]]));
        let line = "y.npy: one-hot target 255 at [0, 0, 0] is outside 0 and 1, as which integers of the logits' shape are read: \
                    for class indices leave out the class axis, for shares use floats, and to leave out a pixel give it the \
                    weight 0";
        refused(&folder, "ce", &[], line);
        // The class axis last.
        folder.array("z.npy", &arr3(&[[[0.0; 2]; 2]]));
        folder.array("y.npy", &arr3(&[[[0.25, 0.75], [0.5, 0.5]]]));
        let line = "y.npy: soft targets at the pixel [0, 0] add up to 0.75 over the classes, where a softmax loss needs 1: move \
                    the class axis to the second place, [N, K, *spatial], if it is at another; divide them by their sum; or, \
                    where classes overlap, use activation=sigmoid";
        refused(&folder, "ce", &[], line);
        let again = quarters();
        std::fs::copy(again.path("z.npy"), folder.path("z.npy")).unwrap();
    }
}

#[test]
fn every_type_is_computed_in_what_was_asked_for() {
    let folder = quarters();
    // 0.1 is a different number in each type, and the loss log(1 + e^z) shows which one was used.
    let halves: Vec<u8> = [0.0, 0.1].iter().flat_map(|&v| half::f16::from_f64(v).to_le_bytes()).collect();
    folder.bytes("f16.npy", &npy_by_hand("<f2", "False", "(1, 2)", &halves));
    folder.array("f32.npy", &arr2(&[[0.0f32, 0.1]]));
    folder.array("f64.npy", &arr2(&[[0.0f64, 0.1]]));
    folder.array("y.npy", &arr1(&[0i64]));
    let rounded = |name: &str| match name {
        "f16" => half::f16::from_f64(0.1).to_f64(),
        "bf16" => half::bf16::from_f64(0.1).to_f64(),
        "f32" => f64::from(0.1f32),
        _ => 0.1,
    };
    for &backend in BACKENDS {
        for (file, dtype, computed) in [
            ("f16", "keep", "f16"),
            ("f32", "keep", "f32"),
            ("f64", "keep", "f64"),
            ("f64", "f32", "f32"),
            ("f64", "f16", "f16"),
            ("f64", "bf16", "bf16"),
            ("f32", "f64", "f64"),
        ] {
            let json = folder.json(&[
                "eval",
                "--loss",
                "ce",
                "--logits",
                &format!("{file}.npy"),
                "--target",
                "y.npy",
                "--backend",
                backend,
                "--dtype",
                dtype,
                "--json",
            ]);
            assert_eq!((&json["dtype"], &json["backend"]), (&computed.into(), &backend.into()));
            let logit = if file == "f32" { rounded("f32") } else { rounded(computed) };
            let tolerance = if computed == "f64" { 1e-15 } else { 1e-7 };
            close(number(&json, "/total"), logit.exp().ln_1p(), tolerance);
        }
    }
}

#[test]
fn foreign_byte_and_axis_orders() {
    let folder = quarters();
    let expected = eval(&folder, "ce + dice", &[]);
    let l = 3f64.ln();
    // Fortran order of [1, 2, 4] runs through the classes first.
    let big: Vec<u8> = [0.0, -l, 0.0, l, 0.0, -l, 0.0, -l].iter().flat_map(|v: &f64| v.to_be_bytes()).collect();
    folder.bytes("z.npy", &npy_by_hand(">f8", "True", "(1, 2, 4)", &big));
    folder.bytes("y.npy", &npy_by_hand(">i2", "False", "(1, 4)", &[0, 0, 0, 1, 0, 1, 0, 0]));
    assert_eq!(eval(&folder, "ce + dice", &[]), expected);
}

/// Logits and labels without any symmetry: two samples, three classes, 2x3 pixels.
fn uneven() -> Folder {
    let folder = Folder::new();
    let logits = ndarray::Array4::from_shape_fn([2, 3, 2, 3], |(n, k, y, x)| (1.7 * (n + 2 * k + 3 * y + 5 * x) as f64).sin());
    folder.array("z.npy", &logits);
    folder.array("y.npy", &Array3::from_shape_fn([2, 2, 3], |(n, y, x)| ((n + y * x) % 3) as i32));
    folder
}

#[test]
fn backends_agree_on_every_preset() {
    let folder = uneven();
    for (name, _) in PRESETS {
        let [mut one, mut other] = ["ndarray", "burn"].map(|backend| eval(&folder, name, &["--backend", backend]));
        let [a, b] = [&one, &other].map(|json| number(json, "/total"));
        close(a, b, 1e-12);
        assert!(a.is_finite() && a != 0.0, "{name}");
        for json in [&mut one, &mut other] {
            // The keys are the same, whatever the last bits of the numbers are.
            json["total"] = 0.into();
            json["backend"] = "".into();
        }
        let keys = |json: &Value| json.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(&one), keys(&other));
    }
}

#[test]
fn spacing_and_maps_reach_the_loss() {
    let folder = quarters();
    for &backend in BACKENDS {
        let total = |more: &[&str]| number(&eval(&folder, "boundary", &[&["--backend", backend], more].concat()), "/total");
        // p of class 1 is 1/4 3/4 1/4 1/4; φ is 1 0 0 1, and 1/2 everywhere with half the spacing.
        close(total(&[]), 0.5 / 4.0, 1e-12);
        close(total(&["--spacing", "0.5"]), 0.75 / 4.0, 1e-12);
        folder.array("m.npy", &arr3(&[[[1.0f32, 1.0, 1.0, 1.0]]]));
        close(total(&["--map", "signed_distances=m.npy"]), 1.5 / 4.0, 1e-12);
    }
    let text = folder.printed(&[FILES, &["--loss", "boundary + ce"]].concat());
    assert!(text.contains("- no exact split into matching and size is known"), "{text}");
    let refuses = |loss: &str, more: &[&str], line: &str| folder.refuses(&[FILES, &["--loss", loss], more].concat(), line);
    refuses("ce", &["--map", "phi=m.npy"], "--map phi: the loss reads no map of this name; it reads none");
    refuses(
        "boundary",
        &["--spacing", "1,1"],
        "number of spacings: 2 for logits of shape [1, 2, 4] is not supported; expected one per spatial axis",
    );
    refuses("boundary", &["--map", "m.npy"], "invalid value 'm.npy' for '--map <NAME=M.npy>': expected NAME=FILE");
}

#[test]
fn gradient_agrees_with_central_differences() {
    const LOSS: &str = "ce + 0.7 * dice + 0.5 * l1(temperature=2) + focal";
    const STEP: f64 = 1e-5;
    let folder = Folder::new();
    let logits = Array2::from_shape_fn([2, 3], |(n, k)| (1.7 * (n + 2 * k) as f64).sin());
    folder.array("y.npy", &arr1(&[2u8, 0]));
    let total = |logits: &Array2<f64>| {
        folder.array("z.npy", logits);
        number(&eval(&folder, LOSS, &[]), "/total")
    };
    let mut expected = Array2::zeros(logits.raw_dim());
    for (at, slope) in expected.indexed_iter_mut() {
        let moved = |by: f64| {
            let mut logits = logits.clone();
            logits[at] += by;
            total(&logits)
        };
        *slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
    }
    total(&logits);
    assert!(expected.iter().all(|slope: &f64| slope.abs() > 1e-3), "{expected}");
    for &backend in BACKENDS {
        eval(&folder, LOSS, &["--backend", backend, "--grad", "g.npy"]);
        let found: Array2<f64> = ndarray_npy::read_npy(folder.path("g.npy")).unwrap();
        found.iter().zip(&expected).for_each(|(&a, &b)| close(a, b, 1e-8));
        eval(&folder, LOSS, &["--backend", backend, "--grad", "g.npy", "--dtype", "bf16"]);
        let found: Array2<f32> = ndarray_npy::read_npy(folder.path("g.npy")).unwrap();
        found.iter().zip(&expected).for_each(|(&a, &b)| close(a.into(), b, 0.02));
    }
    assert_eq!(folder.files(), ["g.npy", "y.npy", "z.npy"]);
}

/// Refuses `z.npy` and `y.npy` with both backends, a gradient being asked for.
fn refused(folder: &Folder, loss: &str, more: &[&str], line: &str) {
    for &backend in BACKENDS {
        folder.refuses(&[FILES, &["--loss", loss, "--backend", backend, "--grad", "g.npy"], more].concat(), line);
    }
}

#[test]
fn refuses_shapes_that_do_not_match() {
    let folder = quarters();
    folder.array("y.npy", &arr2(&[[0u8, 1, 1]]));
    refused(&folder, "ce", &[], "y.npy: labels have shape [1, 3], but logits of shape [1, 2, 4] need [1, 4]");
    folder.array("y.npy", &arr3(&[[[0.5f32]]]));
    refused(&folder, "ce", &[], "y.npy: soft targets have shape [1, 1, 1], but logits of shape [1, 2, 4] need [1, 2, 4]");
    folder.array("y.npy", &arr2(&[[0u8, 1, 1, 0]]));
    folder.array("w.npy", &arr1(&[1.0f32]));
    let line = "w.npy: pixel weights have shape [1], but logits of shape [1, 2, 4] need [1, 4]";
    refused(&folder, "ce", &["--weights", "w.npy"], line);
    folder.array("z.npy", &arr1(&[1.0f32]));
    refused(&folder, "ce", &[], "z.npy: logits need at least the axes [N, K], got shape [1]");
    folder.array("z.npy", &arr3(&[[[1.0f32; 4]]]));
    let line = "z.npy: softmax needs at least two classes, got 1; a single channel is binary: use sigmoid";
    refused(&folder, "ce", &[], line);
}

#[test]
fn refuses_values_out_of_range() {
    let folder = quarters();
    folder.array("y.npy", &arr2(&[[0i16, 1, 7, 0]]));
    refused(&folder, "ce", &[], "y.npy: label 7 at [0, 2] is outside 0..2 and not ignored; `ignore=7` leaves its pixels out");
    folder.array("y.npy", &arr2(&[[0i64, -1, 1, 0]]));
    refused(&folder, "ce", &[], "y.npy: label -1 at [0, 1] is outside 0..2 and not ignored; `ignore=-1` leaves its pixels out");
    eval(&folder, "ce", &["--ignore-index", "-1"]);
    folder.array("y.npy", &arr3(&[[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1.5, 0.5]]]));
    refused(&folder, "ce", &[], "y.npy: soft target 1.5 at [0, 1, 2] is outside [0, 1]");
    folder.array("y.npy", &arr2(&[[0u8, 1, 1, 0]]));
    folder.array("w.npy", &arr2(&[[1.0, 1.0, 1.0, -2.0]]));
    let line = "w.npy: pixel weight -2 at [0, 3] is outside finite numbers >= 0";
    refused(&folder, "ce", &["--weights", "w.npy"], line);
}

#[test]
fn refuses_logits_that_are_not_finite() {
    let folder = quarters();
    for (value, text, way_out) in [
        (f64::NAN, "NaN", "look for what makes it in the network, or leave the pixel out: an ignored label, or weight 0"),
        (f64::INFINITY, "inf", "use a large finite number, such as 1e9 (1e4 in f16)"),
        (f64::NEG_INFINITY, "-inf", "to switch a class off use a large finite number, such as -1e9 (-1e4 in f16)"),
    ] {
        folder.array("z.npy", &arr3(&[[[0.0; 4], [0.0, 0.0, value, 0.0]]]));
        let line = format!("z.npy: logit {text} at [0, 1, 2] is not finite and its pixel is not ignored; {way_out}");
        refused(&folder, "ce", &[], &line);
        eval(&folder, "ce", &["--ignore-index", "1"]);
    }
    folder.array("z.npy", &arr3(&[[[0.0; 4], [0.0, 1e6, 0.0, 0.0]]]));
    let line = "--dtype f16: logit 1000000.0 at [0, 1, 1] of z.npy is beyond its range; take a wider type";
    refused(&folder, "ce", &["--dtype", "f16"], line);
}

#[test]
fn refuses_empty_arrays() {
    let folder = Folder::new();
    folder.array("z.npy", &Array3::<f32>::zeros([0, 2, 4]));
    folder.array("y.npy", &Array2::<u8>::zeros([0, 4]));
    refused(&folder, "ce", &[], "z.npy: logits are empty: shape [0, 2, 4]");
    folder.bytes("z.npy", &npy_by_hand("<f4", "False", "()", &1f32.to_le_bytes()));
    refused(&folder, "ce", &[], "z.npy: logits need at least the axes [N, K], got shape []");
}

#[test]
fn refuses_wrong_dtypes() {
    let folder = quarters();
    let logits = std::fs::read(folder.path("z.npy")).unwrap();
    folder.array("z.npy", &arr3(&[[[0i32; 4]; 2]]));
    refused(&folder, "ce", &[], "z.npy: logits must be float16, float32 or float64, found int32");
    folder.bytes("z.npy", &npy_by_hand("<c8", "False", "(1, 2)", &[0; 16]));
    refused(&folder, "ce", &[], "z.npy: elements must be real numbers or integers, found dtype '<c8'");
    folder.bytes("z.npy", &logits);
    folder.array("y.npy", &arr2(&[[0.0f64, 1.0, 1.0, 0.0]]));
    let line = "y.npy: labels [N, *spatial] must be integers (floats are soft targets [N, K, *spatial]), found float64 of shape [1, 4]";
    refused(&folder, "ce", &[], line);
}

#[test]
fn refuses_files_that_are_missing_or_damaged() {
    let folder = quarters();
    let whole = npy(&arr3(&[[[0.0f64; 4]; 2]]));
    refused(&folder, "ce", &["--weights", "none.npy"], "none.npy: no such file or directory");
    for (bytes, line) in [
        (&whole[..whole.len() - 3], "z.npy: truncated: its header promises 64 bytes of data, it holds 61"),
        (&whole[..20], "z.npy: truncated: it ends within its header"),
        (&[&whole[..], b"!"].concat(), "z.npy: 1 bytes follow its data"),
        (b"PK\x03\x04", "z.npy: not a readable .npz archive: its directory is missing or damaged"),
        (b"PAR1", "z.npy: not an .npy file"),
        (b"", "z.npy: not an .npy file"),
        (&npy_by_hand("<f8", "False", "(-1, 2)", &[]), "z.npy: its header cannot be understood"),
        (&npy_by_hand("<f8", "False", "(9000000000, 9000000000)", &[]), "z.npy: its shape is too large"),
        (
            &npy_by_hand("<f8", "False", "(900000000, 9)", &[]),
            "z.npy: truncated: its header promises 64800000000 bytes of data, it holds 0",
        ),
    ] {
        folder.bytes("z.npy", bytes);
        refused(&folder, "ce", &[], line);
    }
    std::fs::remove_file(folder.path("z.npy")).unwrap();
    refused(&folder, "ce", &[], "z.npy: no such file or directory");
}

#[test]
fn refuses_losses_that_do_not_exist() {
    let folder = quarters();
    for (loss, line) in [
        ("dise", "at column 1 of `dise`: unknown loss `dise`; did you mean `dice`?"),
        ("l1(temprature=2)", "at column 4 of `l1(temprature=2)`: l1 has no option `temprature`; did you mean `temperature`?"),
        (
            "ce + l1(temperature=-1)",
            "at column 9 of `ce + l1(temperature=-1)`: l1: temperature = -1 is not allowed; expected a number in (0, 1e6]",
        ),
        (
            "focal(gamma=-0.5)",
            "at column 7 of `focal(gamma=-0.5)`: focal: gamma = -0.5 is not allowed; expected a number in [0, 100]",
        ),
        (
            "ce(class_weights=[1, 2, 3])",
            "ce: class_weights has 3 values, but there are 2 classes; give one value for each class",
        ),
        ("dice(classes=[2])", "dice: classes names class 2, but there are 2 classes, counted from 0"),
        ("dice_ce", "at column 1 of `dice_ce`: unknown loss `dice_ce`; write `ce + dice`"),
        ("softdice", "at column 1 of `softdice`: unknown loss `softdice`; write `dice`"),
        ("ce\n& dice", r"at column 4 of `ce\n& dice`: expected a name, a number or one of + - * ( ) [ ] , =, found `&`"),
        ("ce +", "at column 5 of `ce +`: expected a loss, a number or `(`, found the end"),
    ] {
        refused(&folder, loss, &[], line);
    }
}

#[test]
fn refuses_options_out_of_range() {
    let folder = quarters();
    let args = |more: &[&'static str]| [FILES, &["--loss", "ce"], more].concat();
    folder.refuses(
        &args(&["--dtype", "f8"]),
        "invalid value 'f8' for '--dtype <DTYPE>' [possible values: keep, f32, f64, f16, bf16]",
    );
    folder.refuses(
        &["eval", "--loss", "ce"],
        "the following required arguments were not provided: --logits <Z.npy> --target <Y.npy>",
    );
    folder.refuses(&args(&["--grad", "none/g.npy"]), "none/g.npy: no such file or directory");
    folder.refuses(&args(&["--grad", "."]), ".: is a directory");
    folder.refuses(&args(&["--grad", "z.npy"]), "--grad z.npy: would overwrite the file of --logits");
}

#[test]
fn refuses_devices_that_are_not_there() {
    let folder = quarters();
    let refused = |more: &[&str], line: &str| folder.refuses(&[FILES, &["--loss", "ce"], more].concat(), line);
    refused(&["--device", "cuda:0"], "--device cuda:0: goes with --backend tch");
    refused(&["--device", "tpu"], "invalid value 'tpu' for '--device <DEVICE>': expected cpu or cuda:N");
    if cfg!(feature = "tch") {
        // More than any machine has.
        let output = folder.run(&[FILES, &["--loss", "ce", "--backend", "tch", "--device", "cuda:99"]].concat());
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            line.starts_with("error: --device cuda:99: LibTorch sees ") && line.ends_with(" CUDA devices here\n"),
            "{line}"
        );
    } else {
        let line =
            "--backend tch: this segloss was built without LibTorch; use cargo xtask tch run -p segloss-cli --features tch";
        refused(&["--backend", "tch"], line);
    }
}

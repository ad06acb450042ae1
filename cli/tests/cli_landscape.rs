//! `segloss landscape`, end to end: identities along the curves, a table that was made elsewhere,
//! refusals.

mod support;

use serde_json::Value;

use support::{Folder, number};

fn landscape(more: &[&str]) -> Value {
    Folder::new().json(&[&["landscape", "--json"], more].concat())
}

/// The points of the first setting's first loss.
fn curve(json: &Value) -> &[Value] {
    json.pointer("/0/losses/0/classes/0/curve").and_then(Value::as_array).unwrap()
}

#[test]
fn cross_entropy_presses_by_the_difference_of_proportions() {
    for classes in ["1", "2", "3"] {
        let json = landscape(&["--loss", "ce", "--true", "0.05", "--sharpness", "2", "--classes", classes]);
        assert!(curve(&json).len() > 50);
        for point in curve(&json) {
            let [predicted, pressure] = ["/predicted", "/pressure"].map(|key| number(point, key));
            assert!((pressure - (predicted - 0.05)).abs() < 1e-12, "{classes}: {point}");
        }
    }
}

#[test]
fn pressure_is_the_slope_of_the_loss() {
    let json = landscape(&["--loss", "0.5 * dice + focal + kl"]);
    let mut compared = 0;
    for three in curve(&json).windows(3) {
        let [before, here, after] = [0, 1, 2].map(|i| ["/shift", "/value", "/pressure"].map(|key| number(&three[i], key)));
        // Steps near 0 are small.
        if here[0].abs() < 0.3 {
            let [left, right] = [before, after].map(|other| (other[1] - here[1]) / (other[0] - here[0]));
            // Between the slopes to either side, as the loss is smooth there.
            let wide = 0.02 + (left - right).abs();
            assert!((here[2] - left.midpoint(right)).abs() <= wide * 0.5, "{here:?} {left} {right}");
            compared += 1;
        }
    }
    assert!(compared > 4);
}

/// Made by `golden/landscape.py`: probability, then decisions.
#[rustfmt::skip]
const GOLDEN: [(&str, &str, &str, [[f64; 2]; 9]); 5] = [
    ("0.005", "2.5", "1", [[1.000, 0.268], [1.299, 0.358], [1.487, 0.415], [1.168, 0.315], [1.168, 0.315], [1.168, 0.315], [1.155, 0.315], [2.091, 0.607], [3.056, 0.961]]),
    ("0.02", "2.5", "1", [[1.000, 0.504], [1.467, 0.748], [1.233, 0.624], [1.068, 0.534], [1.068, 0.534], [1.068, 0.534], [1.056, 0.528], [1.750, 0.898], [1.902, 0.980]]),
    ("0.3", "2.5", "1", [[1.000, 0.951], [1.054, 1.001], [1.012, 0.959], [1.065, 1.010], [1.065, 1.010], [1.065, 1.010], [1.023, 0.972], [1.322, 1.255], [1.054, 1.001]]),
    ("0.02", "2.5", "3", [[1.000, 0.921], [1.085, 1.004], [1.014, 0.932], [0.912, 0.845], [0.912, 0.845], [0.912, 0.845], [0.933, 0.866], [1.393, 1.276], [1.108, 1.017]]),
    ("0.02", "4", "1", [[1.000, 0.918], [1.119, 0.998], [1.010, 0.926], [0.933, 0.873], [0.933, 0.873], [0.933, 0.873], [0.939, 0.880], [1.099, 0.985], [1.122, 1.003]]),
];

#[test]
fn preferred_sizes_are_those_of_an_independent_program() {
    let losses =
        ["ce", "ce + l1", "ce + kl", "dice", "log_dice", "jaccard", "ce + dice", "tversky(alpha=0.3, beta=0.7)", "focal"];
    let named = losses.iter().flat_map(|loss| ["--loss", loss]).collect::<Vec<_>>();
    for (share, distance, sharpness, rows) in GOLDEN {
        let setting = ["--classes", "1", "--true", share, "--distance", distance, "--sharpness", sharpness];
        let json = landscape(&[&setting, &named[..]].concat());
        for (i, expected) in rows.into_iter().enumerate() {
            // Decisions change by whole places of either grid.
            for (key, expected, tolerance) in [("predicted_ratio", expected[0], 0.003), ("decided_ratio", expected[1], 0.025)] {
                let found = number(&json, &format!("/0/losses/{i}/classes/0/{key}"));
                assert!(
                    (found - expected).abs() < tolerance,
                    "{} at {share}, {sharpness}: {key} {found}, not {expected}",
                    losses[i]
                );
            }
        }
    }
}

#[test]
fn options_are_combined_and_drawn() {
    let folder = Folder::new();
    let options = ["--loss", "ce", "--loss", "dice", "--true", "0.005,0.3", "--distance", "1,4"];
    let text = folder.printed(&[&["landscape"], &options[..], &["--picture", "l.png"]].concat());
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(" % ")).collect();
    assert_eq!(rows.len(), 8, "{text}");
    assert!(rows[0].trim_start().starts_with("0.5 %") && rows[7].trim_start().starts_with("30 %"));
    assert!(text.ends_with("picture written to l.png\n"));
    let picture = image::open(folder.path("l.png")).unwrap().to_rgb8();
    for color in [[0, 114, 178], [230, 97, 0]] {
        assert!(picture.pixels().filter(|pixel| pixel.0 == color).count() > 1000);
    }
    // The same numbers draw the same picture.
    let before = std::fs::read(folder.path("l.png")).unwrap();
    folder.printed(&[&["landscape"], &options[..], &["--picture", "l.png"]].concat());
    assert_eq!(before, std::fs::read(folder.path("l.png")).unwrap());
}

#[test]
fn refusals_name_the_option() {
    let folder = Folder::new();
    let refuses = |more: &[&str], line: &str| folder.refuses(&[&["landscape"], more].concat(), line);
    refuses(&["--true", "1.5"], "--true 1.5: expected a proportion of the pixels, from 1e-6 to 1 - 1e-6");
    refuses(
        &["--true", "0.6", "--classes", "3"],
        "--true 0.6: expected a proportion from 1e-6 to below 0.5: 2 classes have it each",
    );
    refuses(&["--distance", "NaN"], "--distance NaN: expected a number above 0 and at most 20");
    refuses(&["--sharpness", "0"], "--sharpness 0: expected a number above 0 and at most 100");
    refuses(
        &["--true", "0.1,0.2,0.3,0.4,0.5", "--distance", "1,2,3", "--picture", "l.png"],
        "--picture l.png: 15 settings are asked for, of at most 12; give fewer values",
    );
}

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

/// Rows of the table in docs/theory.md: made by an independent program in numpy.
#[test]
fn preferred_sizes_are_those_of_an_independent_program() {
    let losses =
        ["ce", "ce + l1", "ce + kl", "dice", "log_dice", "jaccard", "ce + dice", "tversky(alpha=0.3, beta=0.7)", "focal"];
    let named = losses.iter().flat_map(|loss| ["--loss", loss]).collect::<Vec<_>>();
    // Probability, then decisions.
    let expected: [(&str, &str, &str, [[f64; 2]; 9]); 3] = [
        (
            "0.02",
            "2.5",
            "1",
            [
                [1.00, 0.51],
                [1.50, 0.76],
                [1.23, 0.63],
                [1.06, 0.55],
                [1.06, 0.55],
                [1.06, 0.55],
                [1.06, 0.55],
                [1.74, 0.91],
                [1.89, 1.00],
            ],
        ),
        (
            "0.3",
            "2.5",
            "1",
            [
                [1.00, 0.95],
                [1.05, 1.00],
                [1.01, 0.96],
                [1.06, 1.00],
                [1.06, 1.00],
                [1.06, 1.00],
                [1.02, 0.97],
                [1.32, 1.25],
                [1.06, 1.00],
            ],
        ),
        (
            "0.02",
            "2.5",
            "3",
            [
                [1.00, 0.92],
                [1.08, 1.00],
                [1.01, 0.93],
                [0.89, 0.82],
                [0.89, 0.82],
                [0.89, 0.82],
                [0.92, 0.84],
                [1.39, 1.28],
                [1.11, 1.01],
            ],
        ),
    ];
    for (share, distance, sharpness, rows) in expected {
        let setting = ["--classes", "1", "--true", share, "--distance", distance, "--sharpness", sharpness];
        let json = landscape(&[&setting, &named[..]].concat());
        for (i, expected) in rows.into_iter().enumerate() {
            for (key, expected) in ["predicted_ratio", "decided_ratio"].into_iter().zip(expected) {
                let found = number(&json, &format!("/0/losses/{i}/classes/0/{key}"));
                assert!(
                    (found - expected).abs() < 0.015,
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

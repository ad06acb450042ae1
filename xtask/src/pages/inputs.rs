//! Small inputs for the pages: images with masks, and logits that know something of a target.

use std::fs;
use std::io;
use std::path::Path;

/// Names of the images. One is long, and one has letters that markup means something by.
const IMAGES: [&str; 4] =
    ["a", "b<i>&amp;", "patient-0001-visit-02-of-the-second-series-t2w-fat-saturated-coronal-reconstruction-2mm", "d"];

/// A study of made-up images and of those above, too short to learn anything.
const PLAN: &str = r#"
losses = ["ce", "ce + dice", "ce + 0.5 * l1(temperature=10)"]
seeds = 2
rates = [0.003, 0.01]

[[condition]]
name = "small <&> lesions"
lesions = "4"
images = 6
test = 6
batch = 2
steps = 3
epochs = 3
patch = 32
width = 4

[[condition]]
name = "a folder"
data = "data"
ignore = 255
batch = 2
steps = 3
epochs = 2
patch = 16
width = 4
"#;

/// Writes all that the pages are made of.
///
/// # Errors
/// What the system says.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    for (i, name) in IMAGES.into_iter().enumerate() {
        let inside = |y: usize, x: usize| usize::from((x / 7 + y / 5 + i).is_multiple_of(6)) + usize::from(x > 30 && y > 20);
        array(&folder.join(format!("data/images/{name}.npy")), "|u1", &[36, 44], |at| {
            let (y, x) = (at / 44, at % 44);
            vec![(60 * inside(y, x) + 40 + (31 * x + 17 * y) % 53) as u8]
        })?;
        array(&folder.join(format!("data/masks/{name}.npy")), "|u1", &[36, 44], |at| {
            // Some of it does not count.
            let ignored = i == 1 && at % 44 < 6;
            vec![if ignored { 255 } else { inside(at / 44, at % 44) as u8 }]
        })?;
    }
    fs::write(folder.join("plan.toml"), PLAN)?;
    let label = |at: usize| match (at / 6 + at / 240) % 23 {
        0 => 1usize,
        7 | 8 => 2,
        _ => 0,
    };
    array(&folder.join("y.npy"), "|u1", &[1, 40, 40], |at| vec![label(at) as u8])?;
    array(&folder.join("z.npy"), "<f4", &[1, 3, 40, 40], |at| {
        let (k, pixel) = (at / 1600, at % 1600);
        let noise = ((7919 * k + 104_729 * pixel) % 997) as f32 / 400.0 - 1.2;
        let logit = 1.3 * noise + if label(pixel) == k { 1.5 } else { 0.0 } + if k == 0 { 1.0 } else { 0.0 };
        logit.to_le_bytes().to_vec()
    })
}

/// A .npy file of numbers in memory order.
fn array(path: &Path, descriptor: &str, shape: &[usize], number: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
    let lengths: Vec<String> = shape.iter().map(|length| format!("{length},")).collect();
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({}), }}\n", lengths.concat());
    let length = (header.len() as u16).to_le_bytes();
    let count: usize = shape.iter().product();
    let numbers: Vec<u8> = (0..count).flat_map(number).collect();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &numbers].concat())
}

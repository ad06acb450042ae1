//! Files of every format against what other people's libraries say of them (`files/generate.py`),
//! and files that lie.

use std::fs;
use std::path::{Path, PathBuf};

use segloss_data::formats::{header, read, read_array};
use segloss_data::{Array, DataError, Limits};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

fn facts() -> serde_json::Map<String, Value> {
    let facts: Value = serde_json::from_slice(&fs::read(folder().join("facts.json")).unwrap()).unwrap();
    facts.as_object().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn numbers_are_those_of_other_libraries() {
    let facts = facts();
    assert_eq!(facts.len(), 61);
    for (name, fact) in &facts {
        let path = folder().join(name);
        let raster = read(&path, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(header(&path).unwrap(), raster.header, "{name}");
        assert_eq!(raster.header.dtype, fact["dtype"].as_str().unwrap(), "{name}");
        let shape: Vec<f64> = raster.values.shape().iter().map(|&n| n as f64).collect();
        assert_eq!(shape, numbers(&fact["shape"]), "{name}");
        let values: Vec<f64> = raster.values.floats().iter().copied().collect();
        let sum: f64 = values.iter().sum();
        let weighted: f64 = values.iter().zip(1..).map(|(v, i)| v * f64::from(i)).sum();
        // Decoders of JPEG round the cosine transform each in its own way.
        let close = |found: f64, expected: f64, weights: f64| {
            let by = if name.ends_with("jpg") { 0.5 * weights } else { 1e-6 * expected.abs().max(1.0) };
            assert!((found - expected).abs() <= by, "{name}: {found} is not {expected}");
        };
        let count = values.len() as f64;
        close(sum, fact["sum"].as_f64().unwrap(), count);
        close(weighted, fact["weighted"].as_f64().unwrap(), count * (count + 1.0) / 2.0);
        if let Some(spacing) = fact.get("spacing") {
            assert_eq!(raster.header.spacing, Some(numbers(spacing)), "{name}");
        }
        assert_eq!(raster.header.orientation.as_deref(), fact.get("orientation").and_then(Value::as_str), "{name}");
        let scaling = fact.get("scaling").map(|scaling| numbers(scaling).try_into().unwrap());
        assert_eq!(raster.header.scaling, scaling, "{name}");
    }
}

thread_local! {
    /// One folder for all the files of a test.
    static PLACE: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// What stands under the name of a file, with these bytes.
fn with_bytes<T>(name: &str, bytes: &[u8], look: impl Fn(&Path) -> T) -> T {
    PLACE.with(|place| {
        let path = place.path().join(name);
        fs::write(&path, bytes).unwrap();
        look(&path)
    })
}

#[test]
fn every_cut_is_an_error_or_the_whole() {
    for name in facts().keys() {
        let whole = fs::read(folder().join(name)).unwrap();
        let expected = read(&folder().join(name), &Limits::default()).unwrap();
        let step = (whole.len() / 67).max(1);
        for length in (0..whole.len()).step_by(step) {
            let found = with_bytes(name, &whole[..length], |path| {
                let _ = header(path);
                read(path, &Limits::default())
            });
            // The end of a TIFF or a JPEG may be of no use, and padding of an archive.
            if let Ok(found) = found {
                assert!(found.values == expected.values, "{name} cut at {length}");
            }
        }
    }
}

#[test]
fn no_damaged_byte_panics() {
    for name in facts().keys() {
        let whole = fs::read(folder().join(name)).unwrap();
        let step = (whole.len() / 67).max(1);
        for at in (0..whole.len()).step_by(step) {
            for flip in [0x01, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                with_bytes(name, &bytes, |path| {
                    withstood(header(path));
                    withstood(read(path, &Limits { bytes: 1 << 24 }));
                });
            }
        }
    }
}

/// Random damages of every file; `DAMAGES` in the environment says how many.
#[test]
fn no_random_damage_panics() {
    let count = std::env::var("DAMAGES").map_or(50_000, |count| count.parse().unwrap());
    let files: Vec<(String, Vec<u8>)> =
        facts().keys().map(|name| (name.clone(), fs::read(folder().join(name)).unwrap())).collect();
    // SplitMix64, seeded with the number of the round.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    };
    for round in 0..count {
        let (name, whole) = &files[round % files.len()];
        let mut bytes = whole.clone();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let (from, length) = (random(bytes.len()), random(16));
                    let part: Vec<u8> = bytes.iter().skip(from).take(length).copied().collect();
                    bytes.splice(at..at, part);
                }
            }
        }
        with_bytes(name, &bytes, |path| {
            withstood(header(path));
            withstood(read(path, &Limits { bytes: 1 << 24 }));
        });
    }
}

/// The decoder of a picture did not panic.
#[track_caller]
fn withstood<T>(found: Result<T, DataError>) {
    if let Err(error) = found {
        assert!(!error.to_string().contains("its decoder failed"), "{error}");
    }
}

#[test]
fn colours_finer_than_brightness_are_refused() {
    let whole = fs::read(folder().join("rgb.jpg")).unwrap();
    let frame = whole.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    for (component, factors) in [(2, 0x24), (1, 0x41), (0, 0x13)] {
        let mut jpeg = whole.clone();
        jpeg[frame + 11 + 3 * component] = factors;
        if component == 0 {
            jpeg[frame + 14] = 0x12;
        }
        let name = format!("{component}.jpg");
        let text = with_bytes(&name, &jpeg, |path| read(path, &Limits::default()).unwrap_err().to_string());
        let end = "not a readable JPEG: its colours are sampled more finely than its brightness; \
                   convert it: magick a.jpg a.png";
        assert!(text.ends_with(end), "{text}");
    }
}

fn refused(name: &str, bytes: &[u8]) -> String {
    with_bytes(name, bytes, |path| {
        let [by_header, by_reading] = [header(path).map(|_| ()), read(path, &Limits::default()).map(|_| ())];
        let text = by_reading.unwrap_err().to_string();
        assert!(
            matches!(by_header, Err(DataError::TooLarge { .. } | DataError::Truncated { .. } | DataError::Values { .. })),
            "{text}"
        );
        text.replace(&path.parent().unwrap().display().to_string(), "")
    })
}

#[test]
fn sizes_that_lie_are_refused_before_memory_is_taken() {
    let mut png = fs::read(folder().join("grey16.png")).unwrap();
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    // The header has a checksum of its own.
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let length = png.len();
    let text = format!("/a.png: its header claims 8589672450 bytes of pixels, which a file of {length} bytes cannot hold");
    assert_eq!(refused("a.png", &png), text);

    let mut nii = fs::read(folder().join("int16.nii")).unwrap();
    nii[42..48].copy_from_slice(&[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f]);
    assert_eq!(refused("a.nii", &nii), "/a.nii: truncated: its header promises 70362301923326 bytes of data, it holds 48");
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, &nii).unwrap();
    let zipped = zipped.finish().unwrap();
    let text = refused("a.nii.gz", &zipped);
    assert!(text.starts_with("/a.nii.gz: its header claims 70362301923326 bytes of pixels, which a file of "), "{text}");

    let text = "{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000, 9000000000), }\n";
    let npy = [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat();
    assert_eq!(refused("a.npy", &npy), "/a.npy: its shape is too large");
}

/// An axis takes two bytes of a header, and many times that as a number in several lists.
#[test]
fn more_axes_than_numpy_has_are_refused() {
    let of = |axes: usize| {
        let text = format!("{{'descr': '|u1', 'fortran_order': True, 'shape': ({}), }}\n", "1,".repeat(axes));
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), &[7]].concat()
    };
    for axes in [65, 20_000] {
        assert_eq!(refused("a.npy", &of(axes)), "/a.npy: its shape has more than 64 axes");
    }
    let shape = with_bytes("a.npy", &of(64), |path| read(path, &Limits::default()).unwrap().values.shape().to_vec());
    assert_eq!(shape, [1; 64]);
}

/// Found by fuzzing: a table of a page takes many times its bytes once it is read, and the first
/// page's was read without a limit.
#[test]
fn tables_of_a_tiff_that_lie_are_refused_before_memory_is_taken() {
    for (name, tag) in [("grey16.tif", 273u16), ("deflate.tif", 277), ("pages.tif", 279)] {
        let mut tif = fs::read(folder().join(name)).unwrap();
        // A tag, its type, and how many values it has.
        let entry = [tag.to_le_bytes(), [if tag == 277 { 3 } else { 4 }, 0]].concat();
        let at = tif.windows(4).position(|bytes| bytes == entry).unwrap() + 4;
        tif[at..at + 4].copy_from_slice(&10_000_000u32.to_le_bytes());
        let text = with_bytes("a.tif", &tif, |path| {
            let [by_header, by_reading] = [header(path).map(|_| ()), read(path, &Limits::default()).map(|_| ())];
            assert_eq!(by_header.unwrap_err().to_string(), by_reading.as_ref().unwrap_err().to_string());
            by_reading.unwrap_err().to_string().replace(&path.parent().unwrap().display().to_string(), "")
        });
        assert_eq!(text, "/a.tif: not a readable TIFF: its header claims more than it can hold", "{name}");
    }
}

#[test]
fn a_damaged_member_of_an_archive_is_refused() {
    for name in ["one.npz", "packed.npz"] {
        let whole = fs::read(folder().join(name)).unwrap();
        // The checksum in the directory, which stands 16 bytes behind its first mark.
        let at = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap() + 16;
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let text = with_bytes(name, &bytes, |path| {
            read_array(path, facts_member(path).as_deref(), false, &Limits::default()).unwrap_err().to_string()
        });
        assert!(text.contains("not a readable .npz archive: the checksum of ") && text.ends_with(" is wrong"), "{text}");
    }
}

/// The first array of an archive of several.
fn facts_member(path: &Path) -> Option<String> {
    header(path).unwrap().member
}

#[test]
fn integers_are_kept_in_the_first_type_that_holds_them() {
    let npy = |descriptor: &str, count: usize, data: &[u8]| {
        let text = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': ({count},), }}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
    };
    let narrow = |bytes: &[u8]| {
        with_bytes("a.npy", bytes, |path| read_array(path, None, true, &Limits::default()).map(|raster| raster.values))
    };
    let wide = |values: &[i64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        narrow(&npy("<i8", values.len(), &bytes)).unwrap()
    };
    // Beyond the first block, what was read before is widened.
    let mut values: Vec<i64> = (0..20_000).map(|i| i % 256).collect();
    assert!(matches!(wide(&values), Array::U8(_)));
    values.push(-1);
    assert!(matches!(wide(&values), Array::I32(_)));
    assert!(wide(&values).integers().unwrap().iter().eq(&values));
    values.push(1 << 40);
    values.push(3);
    assert!(matches!(wide(&values), Array::I64(_)));
    assert!(wide(&values).integers().unwrap().iter().eq(&values));
    let error = narrow(&npy("<u8", 1, &u64::MAX.to_le_bytes())).unwrap_err().to_string();
    assert!(error.ends_with("elements must be numbers below 2^63, found 18446744073709551615"), "{error}");
    assert!(matches!(narrow(&npy(">i2", 2, &[0, 1, 0, 2])).unwrap(), Array::U8(a) if a.iter().eq(&[1, 2])));
}

#[test]
fn more_than_the_limit_is_refused() {
    let path = folder().join("rgb.png");
    let text = read(&path, &Limits { bytes: 71 }).unwrap_err().to_string();
    assert!(
        text.ends_with("rgb.png: its header claims 72 bytes of pixels, more than the 71 that are read of one file (--limit)"),
        "{text}"
    );
    assert!(read(&path, &Limits { bytes: 72 }).is_ok());
}

#[test]
fn what_is_not_read_is_recognised() {
    let text = |name: &str| header(Path::new(name)).unwrap_err().to_string();
    assert_eq!(
        text("a.dcm"),
        "a.dcm: DICOM is not read; `dcm2niix -z y -o OUT FOLDER` makes a .nii.gz of each series, dcmqi's segimage2itkimage of a DICOM-SEG"
    );
    assert!(text("a.NRRD").starts_with("a.NRRD: NRRD is not read; SimpleITK.WriteImage("));
    assert_eq!(text("a.docx"), "a.docx: a file of this ending is not read; PNG, JPEG, TIFF, NIfTI, .npy and .npz are");
    let pair = fs::read(folder().join("int16.nii")).unwrap();
    let mut pair = pair;
    pair[344..348].copy_from_slice(b"ni1\0");
    let text = with_bytes("a.nii", &pair, |path| header(path).unwrap_err().to_string());
    assert!(text.contains("a header whose data is in another file (.hdr and .img) is not read; nibabel.save("), "{text}");
    let text = with_bytes("a.npy", b"PK\x03\x04", |path| header(path).unwrap_err().to_string());
    assert!(text.contains("an .npz archive of arrays, not an .npy file; take one out with numpy.save("), "{text}");
}

//! Writes what fuzzing begins with: `corpus/TARGET/` with small files of each format, and
//! `corpus/TARGET.dict` with the words that they are made of.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use loss_core::{PRESETS, catalogue, spec};
use segloss_data::formats::Format;

type Outcome<T = ()> = std::io::Result<T>;

fn main() -> Outcome {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("corpus");
    texts(&corpus)?;
    for entry in fs::read_dir(here.join("../tests/files"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = match Format::of_name(&name) {
            Some((Format::Png | Format::Jpeg | Format::Tiff, _)) => "images",
            Some((Format::Nifti, _)) => "nifti",
            Some((Format::Npy, _)) => "npy",
            Some((Format::Npz, _)) => "npz",
            _ => continue,
        };
        put(&corpus, target, &name, &fs::read(&path)?)?;
    }
    arrays(&corpus)?;
    bombs(&corpus)?;
    dictionaries(&corpus)
}

fn put(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> Outcome {
    let folder: PathBuf = corpus.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// Every term with each of its options, and what else the grammar has.
fn texts(corpus: &Path) -> Outcome {
    let mut texts: Vec<String> = PRESETS.iter().flat_map(|(name, text)| [name.to_string(), text.to_string()]).collect();
    for term in catalogue() {
        let options: Vec<String> = term.options.iter().map(|option| format!("{}={}", option.name, option.default)).collect();
        texts.push(format!("{}({})", term.name, options.join(", ")));
        texts.extend(term.options.iter().map(|option| format!("0.5 * {}({}=[0.2, 1])", term.name, option.name)));
    }
    texts.extend(spec::words(spec::WordsFor::Terms).iter().map(|word| word.names[0].to_owned()));
    texts.extend(spec::words(spec::WordsFor::Options).iter().map(|word| format!("dice({}=1)", word.names[0])));
    texts.extend(
        [
            "",
            "-(ce - 2 * (l1 + 1e-3*kl)) * .5",
            "ce + grow(1, factor=5, every=10, cap=100) * l1 with activation=sigmoid, ignore=[255, -1], epoch=3",
            "1e308 * -1e308 * grow(2) * dice(classes=[1, 2], class_weights=none)",
            "focal(gamma=1.5, alpha=none) - ce with ignore=-9223372036854775808, epoch=18446744073709551615",
            "dice_and_bce_plus_focal_tversky",
            "größe + ſ(k=K)",
        ]
        .map(str::to_owned),
    );
    let mut all = texts.iter().enumerate();
    all.try_for_each(|(i, text)| put(corpus, "text", &format!("{i}.txt"), text.as_bytes()))
}

fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u32).to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length };
    [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), data].concat()
}

/// An archive of members with one of the two methods of numpy; with `wide`, of numbers of 64 bits.
fn zip(members: &[(&str, &[u8])], packed: bool, wide: bool) -> Outcome<Vec<u8>> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let stored = if packed {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(data)?;
            encoder.finish()?
        } else {
            data.to_vec()
        };
        let (place, method) = (bytes.len() as u32, [if packed { 8 } else { 0 }, 0]);
        let [sizes, extra] = if wide {
            let numbers = [data.len(), stored.len()].map(|size| (size as u64).to_le_bytes()).concat();
            [vec![0xff; 8], [&[1, 0, 16, 0][..], &numbers].concat()]
        } else {
            [[stored.len(), data.len()].map(|size| (size as u32).to_le_bytes()).concat(), Vec::new()]
        };
        let lengths = [name.len(), extra.len()].map(|length| (length as u16).to_le_bytes()).concat();
        let common = [&[20, 0, 0, 0], &method[..], &[0; 4], &crc.sum().to_le_bytes(), &sizes, &lengths].concat();
        bytes.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &extra, &stored].concat());
        let rest = [&[0; 10][..], &place.to_le_bytes(), name.as_bytes(), &extra].concat();
        directory.extend([b"PK\x01\x02\x14\x00", &common[..], &rest].concat());
    }
    let (place, count) = (bytes.len() as u32, [members.len() as u8, 0]);
    let length = directory.len() as u32;
    bytes.extend(directory);
    if wide {
        let record = (bytes.len() as u64).to_le_bytes();
        let [count, length, place] = [members.len() as u64, length.into(), place.into()].map(u64::to_le_bytes);
        bytes.extend([b"PK\x06\x06\x2c", &[0; 7][..], &[45, 0, 45, 0], &[0; 8], &count, &count, &length, &place].concat());
        bytes.extend([b"PK\x06\x07\0\0\0\0", &record[..], &[1, 0, 0, 0]].concat());
    }
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length.to_le_bytes(), &place.to_le_bytes(), &[0, 0]].concat());
    Ok(bytes)
}

/// Arrays of each type, and archives of them.
fn arrays(corpus: &Path) -> Outcome {
    let types =
        ["|b1", "|u1", "|i1", "<u2", ">u2", "<i2", "<u4", "<i4", "<u8", "<i8", ">i8", "<f2", "<f4", "<f8", ">f8", "<V2", "<c8"];
    for (i, descriptor) in types.iter().enumerate() {
        let header = format!("{{'descr': '{descriptor}', 'fortran_order': {}, 'shape': (2, 3), }}\n", ["False", "True"][i % 2]);
        let size = descriptor[2..].parse().unwrap_or(0);
        let data: Vec<u8> = (0..6 * size).map(|at| if at % size == 0 { at as u8 } else { 0 }).collect();
        let array = npy(1 + (i % 3) as u8, &header, &data);
        put(corpus, "npy", &format!("type{i}.npy"), &array)?;
        let labels = npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", &[0, 1]);
        let members = [("image.npy", &array[..]), ("mask.npy", &labels)];
        put(corpus, "npz", &format!("type{i}.npz"), &zip(&members[..1 + i % 2], i % 4 < 2, i % 5 == 0)?)?;
    }
    put(corpus, "npy", "scalar.npy", &npy(1, "{'descr':'<f4','fortran_order':False,'shape':()}", &[0, 0, 128, 63]))?;
    put(corpus, "npy", "empty.npy", &npy(1, "{'descr':'<f4','fortran_order':False,'shape':(0, 3)}", &[]))?;
    let axes = format!("{{'descr':'|u1','fortran_order':True,'shape':({})}}", "1,".repeat(1900));
    put(corpus, "npy", "axes.npy", &npy(1, &axes, &[7]))?;
    put(corpus, "npz", "empty.npz", &zip(&[], false, false)?)
}

/// What unpacks to a hundred times its size, and what only says so.
fn bombs(corpus: &Path) -> Outcome {
    let zeros = vec![0; 1 << 17];
    for (name, shape) in [("bomb", "131072"), ("lie", "99999999"), ("vast", "4294967296, 4294967296, 4294967296")] {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}, )}}");
        put(corpus, "npz", &format!("{name}.npz"), &zip(&[("a.npy", &npy(1, &header, &zeros))], true, false)?)?;
        put(corpus, "npy", &format!("{name}.npy"), &npy(1, &header, &zeros[..64]))?;
    }
    let mut nifti = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/files/uint8.nii"))?;
    nifti[40..48].copy_from_slice(&[3, 0, 0, 2, 0, 1, 1, 0]);
    nifti.truncate(352);
    nifti.extend(&zeros);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&nifti)?;
    put(corpus, "nifti", "bomb.nii.gz", &encoder.finish()?)
}

/// A word of a dictionary, as libFuzzer reads it.
fn quoted(word: &[u8]) -> String {
    let letter = |&byte: &u8| match byte {
        b'"' | b'\\' | 0x7f.. | ..0x20 => format!("\\x{byte:02x}"),
        byte => char::from(byte).to_string(),
    };
    format!("\"{}\"\n", word.iter().map(letter).collect::<String>())
}

fn dictionaries(corpus: &Path) -> Outcome {
    let write = |target: &str, words: &[Vec<u8>]| {
        let text: String = words.iter().filter(|word| !word.is_empty()).map(|word| quoted(word)).collect();
        fs::write(corpus.join(format!("{target}.dict")), text)
    };
    let split = |words: &str| -> Vec<Vec<u8>> { words.split_whitespace().map(|word| word.as_bytes().to_vec()).collect() };

    let mut words: Vec<String> = catalogue().iter().map(|term| term.name.to_owned()).collect();
    words.extend(catalogue().iter().flat_map(|term| term.options.iter().map(|option| format!("{}=", option.name))));
    for of in [spec::WordsFor::Terms, spec::WordsFor::Options] {
        words.extend(spec::words(of).iter().flat_map(|word| word.names.iter().map(|name| name.to_string())));
    }
    let grammar = "with grow( factor= every= cap= activation= ignore= epoch= softmax sigmoid batch sample log linear none all \
                   truth given true false zero skip skip_empty count square simple uniform loss and plus 1e308 1e-308 0.5 \
                   1e100 255 -1 9223372036854775807 18446744073709551615 + - * ( ) [ ] , = . _ é ſ";
    words.extend(grammar.split_whitespace().map(str::to_owned));
    words.sort();
    words.dedup();
    write("text", &words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())?;

    let mut numpy = split(
        "\u{1}\0 \u{2}\0 \u{3}\0 'descr': 'fortran_order': 'shape': True False (2,3) () (0,) 4294967296 18446744073709551615 L \
         |b1 |u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 <f2 <f4 <f8 <V2 >f8 >i4 [('a','<f4')] \
         PK\u{3}\u{4} PK\u{1}\u{2} PK\u{5}\u{6} PK\u{6}\u{6} PK\u{6}\u{7} .npy image mask",
    );
    numpy.push(b"\x93NUMPY".to_vec());
    numpy.extend([vec![0xff; 2], vec![0xff; 4], vec![0xff; 8], vec![8, 0], vec![1, 0, 24, 0]]);
    write("npy", &numpy)?;
    write("npz", &numpy)?;

    let kinds = [1u16, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 16384];
    let mut nifti = split("n+1 n+2 ni1 ni2");
    nifti.extend([348u32, 540].iter().flat_map(|size| [size.to_le_bytes().to_vec(), size.to_be_bytes().to_vec()]));
    nifti.extend(kinds.iter().flat_map(|kind| [kind.to_le_bytes().to_vec(), kind.to_be_bytes().to_vec()]));
    nifti.extend([352f32, 544.0, 1e30, f32::NAN, f32::INFINITY].map(|start| start.to_le_bytes().to_vec()));
    nifti.extend([vec![0x1f, 0x8b, 8], vec![0xff, 0x7f], vec![0xff; 8]]);
    write("nifti", &nifti)?;

    let mut images = split(
        "IHDR IDAT IEND PLTE tRNS eXIf acTL fcTL fdAT iCCP tEXt zTXt iTXt gAMA sBIT cICP mDCV \
         Exif\0\0 JFIF\0 Adobe ICC_PROFILE\0 II*\0 MM\0* II+\0",
    );
    images.push(b"\x89PNG\r\n\x1a\n".to_vec());
    images.extend((0xc0..=0xfe).map(|marker| vec![0xff, marker]));
    // Tags of TIFF, with numbers of 16 and 32 bits behind them.
    images.extend(
        (254u16..=341).flat_map(|tag| [[&tag.to_le_bytes()[..], &[3, 0]].concat(), [&tag.to_le_bytes()[..], &[4, 0]].concat()]),
    );
    images.extend([5u16, 6, 7, 8, 32773, 32946, 50000].map(|method| method.to_le_bytes().to_vec()));
    write("images", &images)
}

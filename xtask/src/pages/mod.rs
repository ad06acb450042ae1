//! Every page that the project makes, opened in a browser: `cargo xtask pages`.

mod browser;
mod inputs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use self::browser::Browser;
pub(crate) use self::browser::find;
use crate::libtorch::workspace;
use crate::{Needs, cargo};

/// A page: its file, and the arguments of `segloss` that make it of the small inputs.
type Page = (&'static str, &'static [&'static str]);

const PAGES: &[Page] = &[
    ("data.html", &["data", "data", "--ignore", "255", "--report", "data.html"]),
    ("study/report.html", &["study", "plan.toml", "--out", "study"]),
    ("bias.html", &["bias", "--logits", "z.npy", "--target", "y.npy", "--spacing", "2,1", "--page", "bias.html"]),
    (
        "conformance.html",
        &["conformance", "--quick", "--loss", "dice", "--dtype", "f32", "--dtype", "bf16", "--report", "conformance.html"],
    ),
];

/// How a page is looked at: widths in pixels, and what the reader prefers.
const WIDTHS: [u32; 2] = [390, 1280];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// A page in which everything is wrong, and what has to be found in it.
const PLANTED: &str = "<!DOCTYPE html><title>planted</title><style>p { color: #999999; background: #ffffff; width: 2000px; }</style>\
                       <p>pale</p><img src=\"https://example.invalid/x.png\"><script>console.error('said'); nothing.there;</script>";
const FOUND: [&str; 7] = [
    "text has a contrast of 2.85",
    "pixels wide where there are 390",
    "next to no text",
    "an image is broken",
    "asks for https://example.invalid/x.png",
    "the console says: said",
    "a script failed",
];

/// Makes the pages, opens each in both widths and schemes, and fails for what is wrong with any.
/// With a folder, pages and pictures of them are left there.
///
/// # Errors
/// What is wrong, one line each.
pub(crate) fn check(keep: Option<&Path>) -> Result<(), String> {
    find()?;
    // As the tests are built, so that after them there is nothing to build.
    cargo(&["test", "--workspace", "--exclude", "backend-tch", "--no-run", "--test", "cli_bias"], None, Needs::Nothing)?;
    let start = Instant::now();
    let own = workspace().join("target/pages");
    let folder = keep.map_or(own.join("made"), Path::to_path_buf);
    let io = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(io)?;
    let folder = folder.canonicalize().map_err(io)?;
    inputs::write(&folder).map_err(io)?;
    for (file, arguments) in PAGES {
        make(&folder, file, arguments)?;
    }
    fs::write(folder.join("planted.html"), PLANTED).map_err(io)?;

    let mut browser = Browser::start(own.join("profile"))?;
    // The checks are checked first: all that is wrong with a page is found.
    let planted = look(&mut browser, &folder.join("planted.html"), 390, "light")?;
    if let Some(missed) = FOUND.iter().find(|fault| !planted.iter().any(|wrong| wrong.contains(*fault))) {
        return Err(format!("pages: a planted fault was not found: {missed}; but {planted:?}"));
    }
    let mut wrong = Vec::new();
    for (file, _) in PAGES {
        for (width, scheme) in WIDTHS.into_iter().flat_map(|width| SCHEMES.map(|scheme| (width, scheme))) {
            let found = look(&mut browser, &folder.join(file), width, scheme)?;
            wrong.extend(found.into_iter().map(|what| format!("{file} at {width} pixels, {scheme}: {what}")));
            if keep.is_some() {
                picture(&mut browser, &folder.join(file.replace(".html", &format!("-{width}-{scheme}.png"))))?;
            }
        }
    }
    if !wrong.is_empty() {
        return Err(format!("pages: {} things are wrong; --keep FOLDER leaves pictures\n{}", wrong.len(), wrong.join("\n")));
    }
    let views = PAGES.len() * WIDTHS.len() * SCHEMES.len();
    eprintln!("xtask: pages: {views} views of {} pages passed in {:.0} s", PAGES.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the command in the folder.
fn make(folder: &Path, file: &str, arguments: &[&str]) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let segloss = target.join("debug").join(format!("segloss{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(&segloss).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", segloss.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("pages: segloss {} made no {file}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Opens a page and gives what is wrong with it.
fn look(browser: &mut Browser, path: &Path, width: u32, scheme: &str) -> Result<Vec<String>, String> {
    let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    browser.ask("Emulation.setDeviceMetricsOverride", &metrics)?;
    let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.ask("Emulation.setEmulatedMedia", &scheme)?;
    browser.events();
    let url = address(path);
    let opened = browser.ask("Page.navigate", &json!({"url": url}))?;
    if let Some(error) = opened["errorText"].as_str() {
        return Err(format!("{}: {error}", path.display()));
    }
    browser.wait("Page.loadEventFired")?;
    let found = browser.value(include_str!("measure.js"))?;
    let mut wrong: Vec<String> = found.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect();
    wrong.extend(browser.events().iter().filter_map(|event| fault(event, &url)));
    Ok(wrong)
}

/// A file's address, with all but plain letters by their numbers.
fn address(path: &Path) -> String {
    let letter = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    format!("file://{}", path.to_string_lossy().bytes().map(letter).collect::<String>())
}

/// What an event says of a page's faults.
fn fault(event: &Value, page: &str) -> Option<String> {
    let of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match event["method"].as_str()? {
        "Network.requestWillBeSent" => {
            let url = of("/params/request/url");
            (url != page && !url.starts_with("data:")).then(|| format!("asks for {url}"))
        }
        "Runtime.consoleAPICalled" if matches!(of("/params/type"), "error" | "warning" | "assert") => {
            let said =
                event.pointer("/params/args/0/value").map_or_else(String::new, |said| said.as_str().unwrap_or("…").into());
            Some(format!("the console says: {said}"))
        }
        "Runtime.exceptionThrown" => Some(format!("a script failed: {}", of("/params/exceptionDetails/exception/description"))),
        "Log.entryAdded" if matches!(of("/params/entry/level"), "error" | "warning") => {
            Some(format!("the browser says: {}", of("/params/entry/text")))
        }
        _ => None,
    }
}

/// Writes a picture of the whole page as it stands.
fn picture(browser: &mut Browser, path: &Path) -> Result<(), String> {
    let answer = browser.ask("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": true}))?;
    let bytes = decoded(answer["data"].as_str().unwrap_or_default());
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Bytes of base64.
fn decoded(text: &str) -> Vec<u8> {
    let six = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let letters: Vec<u8> = text.bytes().filter_map(six).collect();
    let bytes = |four: &[u8]| {
        let number = four.iter().fold(0u32, |n, six| n << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        number.to_be_bytes().into_iter().skip(1).take(four.len() - 1).collect::<Vec<u8>>()
    };
    letters.chunks(4).flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_no_spaces() {
        assert_eq!(address(Path::new("/a b/ü.html")), "file:///a%20b/%C3%BC.html");
    }

    #[test]
    fn base64_as_the_standard_has_it() {
        let cases = [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")];
        for (text, bytes) in cases {
            assert_eq!(decoded(text), bytes.as_bytes());
        }
    }
}

//! Chromium without a window, spoken to by its debugging protocol over two pipes: no port is open,
//! and nothing but a shell is needed to put the pipes where it looks for them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::{Value, json};

/// What names the browser, where it is none of these.
const VARIABLE: &str = "SEGLOSS_CHROMIUM";
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// The last four keep the browser itself off the network.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run \
                     --disable-quic --disable-background-networking --disable-component-update --disable-sync";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<String>,
    /// Its profile, which goes with it.
    profile: std::path::PathBuf,
    session: String,
    sent: u64,
    /// What it told besides answers.
    events: Vec<Value>,
}

/// The browser's file.
///
/// # Errors
/// Where there is none, with the way out.
pub(crate) fn find() -> Result<std::path::PathBuf, String> {
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(std::path::PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(format!("{VARIABLE} is {}, which is no file", path.display())) };
    }
    let folders: Vec<_> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let places = NAMES.iter().flat_map(|name| folders.iter().map(move |folder: &std::path::PathBuf| folder.join(name)));
    places
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("no Chromium: apt-get install chromium, or set {VARIABLE} to the file of one"))
}

impl Browser {
    /// Starts it with a new profile in this folder, which is removed with it.
    ///
    /// # Errors
    /// Where it cannot be found, started or spoken to.
    pub(crate) fn start(profile: std::path::PathBuf) -> Result<Self, String> {
        let program = find()?;
        crate::sources::clear(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
        // Requests are read from descriptor 3, answers written to 4.
        let script =
            format!("exec \"$0\" {FLAGS} --remote-debugging-pipe --user-data-dir=\"$1\" 3<&0 4>&1 </dev/null >/dev/null 2>&1");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&program).arg(&profile).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the browser has no pipes".to_owned());
        };
        let mut browser = Self { child, to, from: read(from), profile, session: String::new(), sent: 0, events: Vec::new() };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// What the browser refuses, and where it does not answer.
    pub(crate) fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.sent += 1;
        let mut request = json!({"id": self.sent, "method": method, "params": parameters});
        if !self.session.is_empty() {
            request["sessionId"] = self.session.clone().into();
        }
        write!(self.to, "{request}\0")
            .and_then(|()| self.to.flush())
            .map_err(|error| format!("the browser has gone: {error}"))?;
        loop {
            let mut message = self.next(method)?;
            if message["id"] != self.sent {
                self.events.push(message);
                continue;
            }
            return match message["error"]["message"].as_str() {
                Some(error) => Err(format!("{method}: {error}")),
                None => Ok(message["result"].take()),
            };
        }
    }

    /// Waits for an event.
    ///
    /// # Errors
    /// Where it does not come.
    pub(crate) fn wait(&mut self, event: &str) -> Result<(), String> {
        while !self.events.iter().any(|known| known["method"] == event) {
            let message = self.next(event)?;
            self.events.push(message);
        }
        Ok(())
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    /// As [`Browser::ask`], and what the expression throws.
    pub(crate) fn value(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.ask("Runtime.evaluate", &parameters)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(format!("a script in the page failed: {thrown}")),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// What it told since this was asked last.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    fn next(&mut self, awaited: &str) -> Result<Value, String> {
        let text = self.from.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("the browser gave no answer in {} s: {awaited}", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => format!("the browser ended before its answer: {awaited}"),
        })?;
        serde_json::from_str(&text).map_err(|error| format!("the browser's answer is no JSON: {error}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Messages, which end with a zero, in the order in which they come.
fn read(from: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
            bytes.pop();
            if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receiver
}

//! A process that is asked over pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use crate::protocol::{Reply, Request};

/// An engine in a process of its own.
pub(crate) struct Child {
    name: String,
    process: Process,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it. What it says on its error stream goes where the command sends it.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {name} ({}): {error}", command.get_program().display()))?;
        let requests = process.stdin.take();
        let replies = process.stdout.take().ok_or_else(|| format!("{name} has no output"))?;
        Ok(Self { name: name.to_owned(), process, requests, replies: BufReader::new(replies) })
    }

    /// Asks, and waits for the reply.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let text = serde_json::to_string(request).map_err(|error| error.to_string())?;
        let sent = self.requests.as_mut().map(|pipe| writeln!(pipe, "{text}").and_then(|()| pipe.flush()));
        let mut line = String::new();
        if !matches!(sent, Some(Ok(()))) || !matches!(self.replies.read_line(&mut line), Ok(length) if length > 0) {
            let status = self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(format!("{} ended ({status}) when asked {text}", self.name));
        }
        let reply: Reply = serde_json::from_str(&line).map_err(|error| format!("{} replied {line:?}: {error}", self.name))?;
        match reply.error {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(reply),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Without requests it ends by itself; one that does not is of no use to anyone.
        self.requests = None;
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            std::thread::sleep(std::time::Duration::from_millis(200));
            if !matches!(self.process.try_wait(), Ok(Some(_))) {
                // It may have ended in the meantime.
                let _ = self.process.kill();
            }
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("the shell", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn replies_errors_and_an_early_end() {
        let mut child = shell(r#"read x; echo '{"value": 2}'; read x; echo '{"error": "no"}'; read x; exit 3"#);
        assert_eq!(child.ask(&Request::Forget).unwrap().value, Some(2.0));
        assert_eq!(child.ask(&Request::Forget).unwrap_err(), "the shell: no");
        let error = child.ask(&Request::Forget).unwrap_err();
        assert!(error.contains("the shell ended") && error.contains('3') && error.contains("forget"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Child::start("Python", &mut Command::new("/no/such/python")).err().unwrap();
        assert!(error.contains("cannot start Python (/no/such/python)"), "{error}");
    }
}

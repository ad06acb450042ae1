//! Known differences of a backend: a text file that names tests that are expected to fail, each
//! with the reason.

/// A ledger.
///
/// One entry a line, `NAME | REASON`; a name may end in `*`. Lines that begin with `#` are remarks.
///
/// ```
/// use conformance_tests::ledger::Ledger;
/// let ledger = Ledger::parse("# half precision\ngdice/softmax/*/bf16 | the device rounds bf16 sums").unwrap();
/// assert_eq!(ledger.reason("gdice/softmax/2d/bf16"), None);   // `*` stands only at the end
/// assert!(Ledger::parse("ce/softmax/0d/f32").is_err());       // no reason
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<(String, String)>,
}

impl Ledger {
    /// Reads the text of a ledger.
    ///
    /// # Errors
    /// The first line without a reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entry = |line: &str| match line.split_once('|') {
            Some((name, reason)) if !name.trim().is_empty() && !reason.trim().is_empty() => {
                Ok((name.trim().to_owned(), reason.trim().to_owned()))
            }
            _ => Err(format!("a known difference is `NAME | REASON`, not `{line}`")),
        };
        Ok(Self { entries: lines.map(entry).collect::<Result<_, _>>()? })
    }

    /// Reads the text of a ledger, which must name nothing but these tests.
    ///
    /// # Errors
    /// The first line without a reason, or that names none of the tests.
    pub fn of(text: &str, tests: &[String]) -> Result<Self, String> {
        let ledger = Self::parse(text)?;
        let idle = ledger.idle(tests).next().map(|idle| format!("the ledger names `{idle}`, which is no test"));
        idle.map_or(Ok(ledger), Err)
    }

    /// Why a test is expected to fail, if it is.
    #[must_use]
    pub fn reason(&self, test: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| matches(name, test)).map(|(_, reason)| reason.as_str())
    }

    /// Entries that name none of the tests.
    pub fn idle<'a>(&'a self, tests: &'a [String]) -> impl Iterator<Item = &'a str> {
        let idle = |name: &&str| !tests.iter().any(|test| matches(name, test));
        self.entries.iter().map(|(name, _)| name.as_str()).filter(idle)
    }

    /// Turns the outcome of a test into what it means under the ledger.
    ///
    /// # Errors
    /// A failure that is not known, and a pass of what is listed as failing.
    pub fn judge<T: Default>(&self, test: &str, outcome: Result<T, String>) -> Result<T, String> {
        match (self.reason(test), outcome) {
            (None, outcome) => outcome,
            (Some(_), Err(_)) => Ok(T::default()),
            (Some(reason), Ok(_)) => {
                Err(format!("it passes, but the ledger expects it to fail ({reason}): take the entry out"))
            }
        }
    }
}

fn matches(name: &str, test: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => test.starts_with(start),
        None => name == test,
    }
}

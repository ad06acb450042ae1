//! Where and when a report was made, and of what.

use std::env::consts::{ARCH, OS};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Versions, machine and date.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// Version of the library.
    pub segloss: String,
    /// The compiler, where it is known.
    pub rustc: Option<String>,
    /// How it was built: `debug` or `release`, where it is known.
    pub profile: Option<String>,
    /// Operating system.
    pub os: String,
    /// Architecture of the processor.
    pub architecture: String,
    /// Processors that may be used, where the system says.
    pub processors: Option<usize>,
    /// When it was finished, UTC.
    pub date: String,
    /// How long it took.
    pub seconds: f64,
}

impl Origin {
    /// Of this program, here and now.
    pub(super) fn new(seconds: f64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            segloss: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: option_env!("SEGLOSS_RUSTC").map(str::to_owned),
            profile: option_env!("SEGLOSS_PROFILE").map(str::to_owned),
            os: OS.to_owned(),
            architecture: ARCH.to_owned(),
            processors: thread::available_parallelism().ok().map(usize::from),
            date: utc(now),
            seconds,
        }
    }
}

/// Seconds since 1970 as a date: the Gregorian calendar repeats every 400 years, counted here from
/// a first of March.
fn utc(seconds: u64) -> String {
    const ERA: u64 = 146_097;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (400 * era + year, month + 3) } else { (400 * era + year + 1, month - 9) };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        let known = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_704_067_199, "2023-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ];
        for (seconds, date) in known {
            assert_eq!(utc(seconds), date);
        }
    }
}

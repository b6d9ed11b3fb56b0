//! How a verb ends: one line on stderr, one exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use sverka::Error;

/// What a verb returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense; also `--help` and `--version`.
    Usage(clap::Error),
    /// The library said no.
    Library(Error),
    /// A quality gate said no.
    Gate(String),
    /// The same, where the verb's JSON has said so already.
    Gated(String),
    /// We made a mistake, and [`hold_panics`] knows which.
    Panicked,
    /// A signal stopped it; its number, and what is left.
    Stopped(u8, String),
    /// Whoever read our stdout went away: nothing is wrong.
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { ref source, ref path, .. }
                if path.as_os_str() == "-" && source.kind() == std::io::ErrorKind::BrokenPipe =>
            {
                Failure::Closed
            }
            error => Failure::Library(error),
        }
    }
}

impl Failure {
    /// The exit code.
    fn code(&self) -> u8 {
        match self {
            Failure::Usage(e) => e.exit_code() as u8,
            Failure::Library(e) if e.is_user_error() => 2,
            Failure::Library(_) | Failure::Panicked => 1,
            Failure::Gate(_) | Failure::Gated(_) => 3,
            Failure::Stopped(signal, _) => 128 + signal,
            Failure::Closed => 0,
        }
    }

    /// What is wrong, on one line.
    fn message(&self) -> String {
        let message = match self {
            Failure::Closed => String::new(),
            Failure::Usage(e) => {
                e.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
            }
            Failure::Library(e) => e.to_string(),
            Failure::Gate(what) | Failure::Gated(what) | Failure::Stopped(_, what) => what.clone(),
            Failure::Panicked => PANIC.lock().unwrap_or_else(PoisonError::into_inner).0.clone(),
        };
        crate::output::visible(&message.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Says it and gives the exit code. With `json` stdout gets one JSON line and stderr the same words.
    pub fn report(self, json: bool) -> ExitCode {
        let (code, message) = (self.code(), self.message());
        // whoever closed a stream does not want to hear it
        let mut talk = std::io::stderr();
        let _ = match &self {
            Failure::Closed => return ExitCode::SUCCESS,
            Failure::Usage(e) => e.print(),
            Failure::Panicked => {
                let trace = PANIC.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
                writeln!(talk, "error: {message}").and_then(|()| write!(talk, "{trace}"))
            }
            Failure::Library(_) | Failure::Gate(_) | Failure::Gated(_) | Failure::Stopped(..) => {
                writeln!(talk, "error: {message}")
            }
        };
        if json && code != 0 && !matches!(self, Failure::Gated(_)) {
            let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": message, "code": code }));
        }
        ExitCode::from(code)
    }
}

/// The last panic, and where it came from if `RUST_BACKTRACE` asks for it.
static PANIC: Mutex<(String, String)> = Mutex::new((String::new(), String::new()));

/// Keeps what a panic says, for [`Failure::report`] to tell where it is not caught before: the reader of Parquet files
/// takes its crate's panics for what they are, a damaged file, and nobody shall hear of our mistake then.
pub fn hold_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or(String::new(), |l| format!(" at {}:{}", l.file(), l.line()));
        let trace = std::backtrace::Backtrace::capture();
        let captured = trace.status() == std::backtrace::BacktraceStatus::Captured;
        let said = format!("our mistake{place}: {message}; please report it with the command you gave");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) =
            (said, if captured { trace.to_string() } else { String::new() });
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_kept_until_it_is_told_and_stays_on_one_line() {
        hold_panics();
        let caught = std::panic::catch_unwind(|| panic!("two\nlines"));
        let _ = std::panic::take_hook(); // other tests may speak again
        assert!(caught.is_err());
        let message = Failure::Panicked.message();
        assert!(message.starts_with("our mistake at ") && message.contains(": two lines; please report"), "{message}");
    }

    #[test]
    fn codes_say_whose_fault_it_is() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let codes = [
            Failure::from(Error::setting("--k", 0, "give more")),
            Failure::from(Error::Internal { op: "x", what: "y".into() }),
            Failure::Panicked,
            Failure::Gate("less".into()),
            Failure::from(Error::Io { op: "write", path: "-".into(), source: closed }),
        ]
        .map(|f| f.code());
        assert_eq!(codes, [2, 1, 1, 3, 0]);
    }
}

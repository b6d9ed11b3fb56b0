//! How a verb ends: one line on stderr, one exit code.

use std::process::ExitCode;

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
    /// We made a mistake, and [`tell_panics`] has said so.
    Panicked,
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
            Failure::Library(e) if e.is_users() => 2,
            Failure::Library(_) | Failure::Panicked => 1,
            Failure::Gate(_) => 3,
            Failure::Closed => 0,
        }
    }

    /// Says it and gives the exit code. With `json` stdout gets one JSON line and stderr the same words.
    pub fn report(self, json: bool) -> ExitCode {
        let code = self.code();
        let message = match &self {
            Failure::Closed => return ExitCode::SUCCESS,
            Failure::Usage(e) => {
                let _ = e.print();
                e.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
            }
            Failure::Library(e) => e.to_string(),
            Failure::Gate(what) => what.clone(),
            Failure::Panicked => "our mistake; see stderr".into(),
        };
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        if !matches!(self, Failure::Usage(_) | Failure::Panicked) {
            eprintln!("error: {message}");
        }
        if json && code != 0 {
            println!("{}", serde_json::json!({ "error": message, "code": code }));
        }
        ExitCode::from(code)
    }
}

/// A panic is told on one line, as other errors are; `RUST_BACKTRACE=1` adds where it came from.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
        let place = info.location().map_or(String::new(), |l| format!(" at {}:{}", l.file(), l.line()));
        eprintln!("error: our mistake{place}: {message}; please report it with the command you gave");
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            eprintln!("{trace}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

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

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
            Failure::Library(_) => 1,
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
        };
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        if !matches!(self, Failure::Usage(_)) {
            eprintln!("error: {message}");
        }
        if json && code != 0 {
            println!("{}", serde_json::json!({ "error": message, "code": code }));
        }
        ExitCode::from(code)
    }
}

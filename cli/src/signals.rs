//! Ctrl-C and SIGTERM.

use std::io::Write;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// From now on a signal ends the process: what it had not finished writing is removed, one line says so, and the exit code
/// is 128 and the signal's number, as a shell expects (130, 143).
pub fn end_without_a_trace(what: &'static str) {
    // without a handler the system ends the process, which is what is wanted, but for the leftovers
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            sverka::files::remove_unfinished();
            let name = if signal == SIGINT { "interrupted" } else { "terminated" };
            let _ = writeln!(std::io::stderr(), "{name}: {what}");
            std::process::exit(128 + signal);
        }
    });
}

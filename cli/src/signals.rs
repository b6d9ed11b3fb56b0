//! Ctrl-C and SIGTERM.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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

/// Ctrl-C and SIGTERM while a model is trained: the first asks for a checkpoint and an end, the second ends at once. Before the first
/// step there is nothing to save, and the first ends at once too.
#[derive(Default)]
pub struct Stop {
    begun: AtomicBool,
    /// The first signal, 0 for none.
    signal: AtomicU8,
}

impl Stop {
    /// Takes over both signals.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> io::Result<Arc<Self>> {
        let stop = Arc::new(Stop::default());
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let heard = stop.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let is_first = heard.signal.swap(signal as u8, Ordering::SeqCst) == 0;
                if is_first && heard.begun.load(Ordering::SeqCst) {
                    continue;
                }
                sverka::files::remove_unfinished();
                let name = if signal == SIGINT { "interrupted" } else { "terminated" };
                let what =
                    if is_first { "nothing is trained yet" } else { "go on from the last checkpoint with --resume" };
                let _ = writeln!(io::stderr(), "{name}: {what}");
                std::process::exit(128 + signal);
            }
        });
        Ok(stop)
    }
    /// A step was made: from now on the first signal waits for a checkpoint. Gives the signal that came, if any.
    pub fn after_step(&self) -> Option<u8> {
        self.begun.store(true, Ordering::SeqCst);
        self.signal()
    }
    /// The signal that came, if any.
    pub fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|&signal| signal > 0)
    }
}

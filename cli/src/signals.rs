//! Ctrl-C and SIGTERM.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
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

/// Ctrl-C and SIGTERM while a model is trained: the first asks for a checkpoint and an end, the second ends at once.
pub struct Stop {
    /// Whether a signal ends the process at once: before there is something to save, and from the second one on.
    at_once: Arc<AtomicBool>,
    /// The last signal, 0 for none.
    last: Arc<AtomicUsize>,
}

impl Stop {
    /// Takes over Ctrl-C and SIGTERM.
    pub fn listen() -> io::Result<Self> {
        let signals = Stop { at_once: Arc::new(AtomicBool::new(true)), last: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // in this order: the first signal arms what the second one runs into
            flag::register_conditional_shutdown(signal, 128 + signal, signals.at_once.clone())?;
            flag::register(signal, signals.at_once.clone())?;
            flag::register_usize(signal, signals.last.clone(), signal as usize)?;
        }
        Ok(signals)
    }
    /// From now on a signal waits for a checkpoint.
    pub fn wait_for_checkpoint(&self) {
        if self.last().is_none() {
            self.at_once.store(false, Ordering::SeqCst);
        }
    }
    /// The signal that came, if any.
    pub fn last(&self) -> Option<u8> {
        u8::try_from(self.last.load(Ordering::SeqCst)).ok().filter(|&signal| signal > 0)
    }
}

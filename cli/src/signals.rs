//! Ctrl-C and SIGTERM.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// A folder of unfinished work, if there is one.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Option<PathBuf>>>);

impl Kept {
    /// From now on this is the folder.
    pub fn set(&self, folder: Option<&Path>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = folder.map(Path::to_path_buf);
    }
}

/// Like [`end_without_a_trace`], for work that is kept in a folder: what is worth keeping stays, and the line says how to go on.
pub fn end_keeping() -> Kept {
    let kept = Kept::default();
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return kept };
    let folder = kept.clone();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let folder = folder.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            sverka::files::remove_unfinished();
            let name = if signal == SIGINT { "interrupted" } else { "terminated" };
            let what = match folder.filter(|folder| sverka::pipeline::tidy_up(folder)) {
                Some(folder) => {
                    format!("no output yet; the same command goes on ({} has what is done)", folder.display())
                }
                None => "nothing is written".into(),
            };
            let _ = writeln!(std::io::stderr(), "{name}: {what}");
            std::process::exit(128 + signal);
        }
    });
    kept
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

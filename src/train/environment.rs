//! Where a run ran: what a reader of its numbers needs to compare them with others.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// Its name in a run folder.
pub(super) const NAME: &str = "environment.json";

/// What it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Sverka's version.
    pub version: String,
    /// `git describe` of the working directory, where there is one.
    pub git: Option<String>,
    /// The processor's name, where the system says it.
    pub cpu: Option<String>,
    /// What matters of the processor: `amx`, `avx512`, `avx2` or `other`.
    pub class: String,
    /// Threads of the pool.
    pub threads: usize,
    /// Operating system and architecture.
    pub system: String,
}

/// Bytes of memory that this process has: now (`VmRSS`), or the most that it had (`VmHWM`); `None` where the system does not say.
pub fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

impl Environment {
    /// Looks around.
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |key: &str| {
            let line = info.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let flags = value("flags").unwrap_or_default();
        let has = |flag: &str| flags.split(' ').any(|f| f == flag);
        let class = match () {
            () if has("amx_bf16") => "amx",
            () if has("avx512f") => "avx512",
            () if has("avx2") => "avx2",
            () => "other",
        };
        let git = Command::new("git").args(["describe", "--always", "--dirty", "--tags"]).output().ok();
        let git =
            git.filter(|out| out.status.success()).map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string());
        Environment {
            version: env!("CARGO_PKG_VERSION").to_string(),
            git,
            cpu: value("model name"),
            class: class.to_string(),
            threads: rayon::current_num_threads(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

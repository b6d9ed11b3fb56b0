//! The memory that tables may take: one limit, so that a list that is too long ends in a message and not in an abort.

use std::sync::OnceLock;

/// Bytes that one table may take: three quarters of the machine's memory, or of the control group's if it has less.
pub(super) fn limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let total = read("/proc/meminfo").and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()?.checked_mul(1024)
        });
        let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let group = group.iter().find_map(|path| read(path)?.trim().parse::<usize>().ok());
        let all = [total, group].into_iter().flatten().min().unwrap_or(8 << 30);
        all / 4 * 3
    })
}

/// Bytes that a record of these values takes.
pub(super) fn taken(values: &[String]) -> usize {
    // an allocation of a few bytes takes 16 or more
    let text: usize = values.iter().map(|v| if v.is_empty() { 0 } else { v.capacity().max(16) + 8 }).sum();
    text + size_of_val(values) + 128
}

//! What a host's kernel has counted.

use crate::stage::{Role, Stage};

/// A counter of the kernel that a running program is on, by its name in
/// /proc/net/netstat, as nstat(8) has it without the `TcpExt`. `None`: the
/// program has ended, or that kernel does not count this.
pub(super) fn tcp_ext(stage: &Stage, role: Role, name: &str) -> Option<u64> {
    let pid = stage.program(role).pid();
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/netstat"));
    let text = text.ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let names = lines.next()?.split_whitespace();
    let values = lines.next()?.split_whitespace();
    let (_, value) = names.zip(values).find(|(found, _)| *found == name)?;
    value.parse().ok()
}

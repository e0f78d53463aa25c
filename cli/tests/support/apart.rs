//! A test with processes, files and a network that nobody else has.

use std::process::{Command, Stdio};

use super::world::World;

/// Set in the process that is apart.
const APART: &str = "LAB_TEST_APART";

/// Runs `test`, the body of the test of this name, as process 1 of a world of
/// its own.
#[track_caller]
pub fn apart(name: &str, test: impl FnOnce()) {
    if std::env::var_os(APART).is_some() {
        return test();
    }
    super::prebuild();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(APART, "1")
        .stdin(Stdio::null());
    let kept = [super::root(), &super::target_dir()];
    World::mine().apart(&kept).around(&mut command);
    let status = command.status().unwrap();
    assert!(status.success(), "{name}, apart: {status}");
}

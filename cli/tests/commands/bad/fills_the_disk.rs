//! Writes wherever it can for as long as it can: where it was started, and
//! beside its own binary, in the checkout.

use std::fs::File;
use std::io::Write;
use std::path::Path;

fn main() {
    // A file that is too large is an error then, and no signal.
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let me = std::env::current_exe().expect("readlink /proc/self/exe");
    let beside = me.parent().unwrap_or(Path::new("/"));
    for directory in [Path::new("."), beside, Path::new("/")] {
        let path = directory.join("filled-by-a-bad-program");
        let written = fill(&path);
        println!("{}: {written} MiB", path.display());
    }
}

/// How many MiB found room; at most 1 GiB is tried.
fn fill(path: &Path) -> usize {
    let Ok(mut file) = File::create(path) else { return 0 };
    let block = vec![1; 1 << 20];
    (0..1024).take_while(|_| file.write_all(&block).is_ok()).count()
}

//! A person at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

const PATIENCE: Duration = Duration::from_secs(20);

/// A command that has a pseudo-terminal for its controlling terminal. Dropping
/// it kills it.
pub struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    pub fn start(command: Command) -> Terminal {
        Terminal::wide(command, 80)
    }

    /// The same with so many columns.
    pub fn wide(mut command: Command, columns: u16) -> Terminal {
        let size =
            Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let copy = |fd: &OwnedFd| fd.try_clone().unwrap();
        command
            .stdin(copy(&pty.slave))
            .stdout(copy(&pty.slave))
            .stderr(pty.slave)
            .env("TERM", "dumb");
        super::process::interruptible(&mut command);
        // SAFETY: both calls are async-signal-safe; TIOCSCTTY takes a number.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                let done = libc::ioctl(0, libc::TIOCSCTTY as _, 0);
                nix::errno::Errno::result(done)?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command); // It holds the other end.
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: nobody has the terminal open any more.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, keys, shown, screen: String::new() }
    }

    /// Waits until this is on the screen; all that is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.screen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => {
                    self.screen.push_str(&String::from_utf8_lossy(&bytes));
                }
                Err(err) => panic!("no `{text}` ({err}): {}", self.screen),
            }
        }
        self.screen.clone()
    }

    pub fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the command's end: its status, and all that it has shown.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        let ended =
            super::until(PATIENCE, "end", || self.child.try_wait().unwrap());
        while let Ok(bytes) = self.shown.recv_timeout(PATIENCE) {
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
        (ended.code(), std::mem::take(&mut self.screen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

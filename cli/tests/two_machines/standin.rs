//! Two machines on a LAN, made of two network namespaces, and the ssh and the
//! sudo with which they are reached.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Said;

const LAB: &str = env!("CARGO_BIN_EXE_lab");
const LIMIT: Duration = Duration::from_secs(120);
/// With this in the environment a tool that is not installed is a failure.
const TOOLS: &str = "LAB_NEEDS_TOOLS";

/// Two machines; they go when this is dropped.
pub struct Machines {
    network: Child,
    folder: TempDir,
    nft: PathBuf,
}

impl Machines {
    /// Brings them up. `None`, and said aloud: without nft there are none.
    pub fn up(test: &str) -> Option<Machines> {
        let why = format!("so {test} is not run");
        let nft = crate::support::find_of_root("nft", TOOLS, &why)?;
        let network = Command::new(LAB)
            .args(["shell", "ernest-laptop", "--fresh", "--", "sleep", "300"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let folder = TempDir::new().unwrap();
        let machines = Machines { network, folder, nft };
        machines.furnish();
        let deadline = Instant::now() + LIMIT;
        while !machines.on("ernest-laptop", &["true"]).status.success() {
            assert!(Instant::now() < deadline, "no machines");
        }
        Some(machines)
    }

    /// The tools, and a home on each machine.
    fn furnish(&self) {
        let folder = self.folder.path();
        for name in ["bin", "ernest-laptop", "Kongming20"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let (home, pid) = (folder.display(), self.pid());
        let ssh = format!(
            "#!/bin/bash\n\
             # ssh OPTION... MACHINE ORDER\n\
             machine=${{@: -2:1}} order=${{@: -1}}\n\
             exec {LAB} shell $machine --of {pid} -- \
             sh -c \"cd {home}/$machine && $order\"\n"
        );
        let sudo = "#!/bin/sh\nshift\nexec \"$@\"\n".to_string();
        for (name, text) in [("ssh", ssh), ("sudo", sudo)] {
            let path = folder.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .unwrap();
        }
    }

    /// The process that holds the namespaces: a child of the command's.
    fn pid(&self) -> u32 {
        let pid = self.network.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let deadline = Instant::now() + LIMIT;
        loop {
            let children = fs::read_to_string(&path).unwrap_or_default();
            let first = children.split_whitespace().next();
            if let Some(child) = first.and_then(|pid| pid.parse().ok()) {
                return child;
            }
            assert!(Instant::now() < deadline, "no network");
        }
    }

    /// A command of the course, for these machines.
    pub fn lab(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(LAB);
        let path = std::env::var("PATH").unwrap();
        let tools = self.folder.path().join("bin");
        command
            .env("PATH", format!("{}:{path}", tools.display()))
            .env("LAB_SSH_CONFIG", "/dev/null")
            .timeout(LIMIT);
        command
    }

    /// What a command of the course says.
    pub fn says(&self, args: &[&str]) -> Said {
        let output = self.lab().args(args).output().unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A command on one of them.
    pub fn on(&self, machine: &str, args: &[&str]) -> std::process::Output {
        let pid = self.pid().to_string();
        Command::new(LAB)
            .args(["shell", machine, "--of", &pid, "--"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What nft says on one of them.
    pub fn nft(&self, machine: &str, args: &[&str]) -> std::process::Output {
        let nft = self.nft.display().to_string();
        self.on(machine, &[&[nft.as_str()], args].concat())
    }

    /// Where the machines' homes are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let _ = self.network.kill();
        let _ = self.network.wait();
    }
}

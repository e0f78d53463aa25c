//! `lab completions`: a script that completes commands, options and labs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `lab completions`.
#[derive(Args)]
#[command(
    after_help = "For bash: eval \"$(cargo lab completions bash)\", with \
    target/debug in the PATH. The script knows the labs of today: make it anew \
    after an upgrade."
)]
pub struct Completions {
    /// The shell to complete in
    shell: Shell,
}

impl Completions {
    pub fn run(self, mut command: Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "lab", &mut script);
        if self.shell == Shell::Fish {
            script.extend(labs_in_fish(&command).into_bytes());
        }
        io::stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// clap_complete leaves positional arguments out for this shell.
fn labs_in_fish(command: &Command) -> String {
    let mut lines = String::new();
    for order in command.get_subcommands() {
        let values = order.get_positionals().flat_map(|arg| {
            arg.get_possible_values().into_iter().filter(|value| {
                // Those without help are clap's own.
                value.get_help().is_some()
            })
        });
        let names: Vec<String> =
            values.map(|value| value.get_name().to_string()).collect();
        if !names.is_empty() {
            lines.push_str(&format!(
                "complete -c lab -n \"__fish_lab_using_subcommand {}\" -f \
                 -a \"{}\"\n",
                order.get_name(),
                names.join(" ")
            ));
        }
    }
    lines
}

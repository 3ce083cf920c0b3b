//! The command line of guests that have names: `hostel list`, `attach`, `stop`, `remove`.

use crate::complete;
use clap::Args;
use clap_complete::ArgValueCandidates;
use host_guest::Name;
use std::time::Duration;

/// How a number of seconds is given.
pub fn seconds(text: &str) -> Result<Duration, String> {
    // `parse` would take a plus sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.map(Duration::from_secs).ok_or_else(|| "write a number of seconds, such as 30".to_owned())
}

/// Options of `hostel list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel list
  hostel list --json

Columns: name, state (running or stopped), process, since when (UTC), what it takes of the disk for
itself, image that it was made from")]
pub struct ListOptions {
    /// Print them as JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Options of `hostel attach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel run debian --name work --detach
  hostel attach work

Keys:
  Ctrl-A d (or x) detaches: the guest goes on; Ctrl-A p presses its power button; Ctrl-A h lists all

What the guest wrote before is shown first, its last 64 KiB. One at a time can be attached. Who does
not read what the guest writes loses the oldest of it; the guest waits for nobody.

Exit status:
  0, whether it was the guest that ended or the user who left; 125 if Hostel failed")]
pub struct AttachOptions {
    /// The guest
    #[arg(add = ArgValueCandidates::new(complete::running))]
    pub name: Name,
}

/// Options of `hostel stop`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel stop work                 ask it to power off, end it after a minute
  hostel stop work --timeout 300   give it five
  hostel stop work --force         end it at once, as if its power were cut

A guest that does not listen to its power button is ended at once.

Exit status:
  0 if it has stopped, 125 if it is not running or Hostel failed")]
pub struct StopOptions {
    /// The guest
    #[arg(add = ArgValueCandidates::new(complete::running))]
    pub name: Name,
    /// Do not ask the guest
    #[arg(long, conflicts_with = "timeout")]
    pub force: bool,
    /// How long it may take to power off before it is ended
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub timeout: Duration,
}

/// Options of `hostel remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hostel remove work

Its disk, and all else in its folder, is deleted, without a question; what it says is what is gone. A
guest that runs is refused: stop it first. Disks that were given with --disk stay.")]
pub struct RemoveOptions {
    /// The guest
    #[arg(add = ArgValueCandidates::new(complete::stopped))]
    pub name: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_numbers() {
        assert_eq!(seconds("300"), Ok(Duration::from_secs(300)));
        for wrong in ["", "+1", "-1", "1s", "1.5", "99999999999999999999999"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}

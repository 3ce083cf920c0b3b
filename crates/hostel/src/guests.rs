//! `hostel list`, `hostel stop` and `hostel remove`: guests that have names.

use crate::command_guest::{ListOptions, RemoveOptions, StopOptions};
use crate::{named, say, status};
use anyhow::bail;
use host_guest::{Ended, GuestError, Holder, Home, Name, Request, ask, ended};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::time::{Duration, Instant, UNIX_EPOCH};
use vm_board::size::Size;

/// How long a process may take to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A guest as it is listed.
struct Row {
    name: Name,
    holder: Option<Option<Holder>>,
    disk: u64,
    image: String,
}

/// Lists the guests there are.
///
/// # Errors
/// If they cannot be looked at.
pub fn list(options: &ListOptions) -> anyhow::Result<u8> {
    let home = Home::open()?;
    let row = |name: Name| -> anyhow::Result<Row> {
        let (holder, disk, image) = (home.holder(&name)?, home.disk_use(&name), named::origin(&home, &name));
        Ok(Row { name, holder, disk, image })
    };
    let rows = home.list()?.into_iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    say::answer(&if options.json { json(&rows)? } else { table(&rows) })?;
    Ok(status::SUCCESS)
}

fn state(row: &Row) -> &'static str {
    if row.holder.is_some() { "running" } else { "stopped" }
}

fn since(holder: Holder) -> String {
    host_image::rfc3339(UNIX_EPOCH + Duration::from_secs(holder.since))
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.as_str().len()).max().unwrap_or(0).max(12);
    let mut table = String::new();
    for row in rows {
        let holder = row.holder.flatten();
        let pid = holder.map_or_else(|| "-".to_owned(), |by| by.pid.to_string());
        let since = holder.map_or_else(|| "-".to_owned(), since);
        let image = if row.image.is_empty() { "-" } else { &row.image };
        let (name, state, disk) = (&row.name, state(row), Size(row.disk).to_string());
        let _ = writeln!(table, "{name:width$} {state:8} {pid:>8} {since:20} {disk:>12} {image}");
    }
    table
}

fn json(rows: &[Row]) -> anyhow::Result<String> {
    let guests: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            let holder = row.holder.flatten();
            serde_json::json!({
                "name": row.name.as_str(),
                "state": state(row),
                "pid": holder.map(|by| by.pid),
                "since": holder.map(since),
                "disk_bytes": row.disk,
                "image": Some(&row.image).filter(|image| !image.is_empty()),
            })
        })
        .collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&guests)?))
}

/// Stops a guest.
///
/// # Errors
/// If it is not running, or cannot be stopped.
pub fn stop(options: &StopOptions) -> anyhow::Result<u8> {
    let (home, name) = (Home::open()?, &options.name);
    if !options.force {
        match ask(&home, name, Request::Stop) {
            Ok((_, stream)) => {
                if ended(&stream, options.timeout) == Ended::Yes && gone(&home, name)? {
                    say::answer(&format!("{name} has stopped\n"))?;
                    return Ok(status::SUCCESS);
                }
                let seconds = options.timeout.as_secs();
                say::note(&format!(
                    "the guest {name} has not powered off within {seconds} s; it is ended now"
                ));
            }
            Err(GuestError::Refused(why)) => say::note(&format!("{why}; it is ended now")),
            Err(error) => return Err(error.into()),
        }
    }
    kill(&home, name)?;
    say::answer(&format!("{name} was ended\n"))?;
    Ok(status::SUCCESS)
}

/// Ends a guest's machine, or the process if that does not answer.
fn kill(home: &Home, name: &Name) -> anyhow::Result<()> {
    match ask(home, name, Request::Kill) {
        Ok((_, stream)) => {
            if ended(&stream, PATIENCE) == Ended::Yes && gone(home, name)? {
                return Ok(());
            }
        }
        Err(GuestError::Silent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Whoever wrote that number holds the lock, so it is theirs still.
    if let Some(Some(holder)) = home.holder(name)?
        && let Some(pid) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    if !gone(home, name)? {
        bail!("the guest {name} does not end; look for the process that holds it with `hostel list`");
    }
    Ok(())
}

/// Whether nobody has the guest any more, soon.
fn gone(home: &Home, name: &Name) -> anyhow::Result<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        if home.holder(name)?.is_none() {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes a guest.
///
/// # Errors
/// If there is none, or it runs.
pub fn remove(options: &RemoveOptions) -> anyhow::Result<u8> {
    let (home, name) = (Home::open()?, &options.name);
    let (folder, disk) = (home.folder(name), home.disk_use(name));
    home.remove(name).map_err(|error| match error {
        GuestError::InUse { .. } => anyhow::anyhow!("{error}; `hostel stop {name}` ends it"),
        error => error.into(),
    })?;
    say::answer(&format!("removed {name}: {} in {}\n", Size(disk), folder.display()))?;
    Ok(status::SUCCESS)
}

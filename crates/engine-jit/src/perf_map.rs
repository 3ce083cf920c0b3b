//! Names of translated code for Linux `perf`: a file of lines "address size name", which `perf report` reads if it meets a
//! sample in memory that belongs to no file (Linux, tools/perf/Documentation/jit-interface.txt).

use engine_emit::Room;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The file of this process, which all harts write to.
#[derive(Debug)]
pub struct PerfMap(File);

impl PerfMap {
    /// The file, /tmp/perf-PID.map, made anew when it is first asked for.
    ///
    /// # Errors
    /// What the host says to that.
    pub fn of_process() -> io::Result<&'static PerfMap> {
        static MAP: OnceLock<PerfMap> = OnceLock::new();
        if let Some(map) = MAP.get() {
            return Ok(map);
        }
        let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
        // One of a process that had the same number; what else is there is not followed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        Ok(MAP.get_or_init(|| PerfMap(file)))
    }

    /// Names the parts of a unit.
    pub(crate) fn name_parts(&self, room: Room, parts: &[Cow<'_, [u8]>; 2], name: std::fmt::Arguments<'_>) {
        let [usual, seldom] = parts;
        self.name(room.usual, usual.len(), name);
        self.name(room.seldom, seldom.len(), format_args!("{name}_seldom"));
    }

    /// Names `size` bytes at `address`. A line that cannot be written is missing, no more.
    pub(crate) fn name(&self, address: u64, size: usize, name: std::fmt::Arguments<'_>) {
        // One write, so that lines of several harts do not mix.
        let line = format!("{address:x} {size:x} {name}\n");
        let _ = (&self.0).write_all(line.as_bytes());
    }
}

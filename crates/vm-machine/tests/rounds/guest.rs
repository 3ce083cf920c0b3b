//! The guest in `guests/rounds`, assembled, and machines that run it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use vm_board::board::Config;
use vm_board::microvm::microvm;
use vm_machine::{Bios, ClockKind, ConsolePort, Engine, Final, Machine, Program, Recorded, Spec, Stopper};

/// What the guest says of its first rounds on QEMU 10.0.2 (`-M microvm,pit=on,pic=on`).
pub const SUMS: [&str; 3] = ["e387355780ed4bc3", "63bd7b6bade60ca3", "0919d71a4f9f8cc3"];

/// Memory of the machines.
pub const MEMORY: u64 = 16 << 20;

/// The guest as an ELF file; `None`, with a word why, where it cannot be made.
pub fn image() -> Option<Program> {
    static IMAGE: OnceLock<Option<Program>> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/rounds");
            match assemble(&source) {
                Ok(bytes) => Some(Program { name: "rounds".into(), bytes: bytes.into() }),
                Err(why) => {
                    eprintln!("skipped: cannot make the guest: {why}");
                    None
                }
            }
        })
        .clone()
}

fn assemble(source: &Path) -> Result<Vec<u8>, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("this host's C compiler makes no x86-64 programs".into());
    }
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output: PathBuf = directory.path().join("rounds.elf");
    let linker = ["-T,link.ld", "--build-id=none", "-z,noexecstack", "--no-warn-rwx-segments"];
    let result = Command::new("cc")
        .args(["-m64", "-nostdlib", "-static", "-no-pie"])
        .args(linker.map(|option| format!("-Wl,{option}")))
        .arg("-o")
        .arg(&output)
        .arg("rounds.S")
        .current_dir(source)
        .output()
        .map_err(|e| format!("cc: {e}"))?;
    if !result.status.success() {
        return Err(String::from_utf8_lossy(&result.stderr).into_owned());
    }
    std::fs::read(output).map_err(|e| e.to_string())
}

/// A machine that runs so many rounds.
pub fn spec(image: &Program, rounds: u32, engine: Engine, trace: &Arc<Recorded>) -> Spec {
    Spec {
        board: microvm(&Config::new(1, MEMORY)).unwrap(),
        bios: Bios::None,
        kernel: Some(image.clone()),
        initrd: None,
        append: Some(rounds.to_string()),
        clock: ClockKind::Real,
        wall_start_ns: 1,
        rng_seed: vec![0; 32],
        budget: None,
        engine,
        trace: Some(Arc::clone(trace) as _),
        perf_map: false,
        virtio: Vec::new(),
        virtio_pci: Vec::new(),
        sd: None,
        ethernet: None,
        note: None,
        flash: Vec::new(),
        tsc_hz: None,
    }
}

/// Collects what the guest prints while its machine runs.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn take_from(&self, console: &Arc<dyn ConsolePort>) {
        console.drain(&mut self.0.lock().unwrap());
    }
}

/// Runs a machine to its end, or until `limit`; everything that it prints goes to `printed`.
pub fn run(machine: Machine, printed: &Printed, limit: Duration) -> Final {
    let console = machine.console().expect("the board has a UART");
    let bell = Arc::new((Mutex::new(false), std::sync::Condvar::new()));
    let ring = Arc::clone(&bell);
    console.connect(Arc::new(move |_| {
        *ring.0.lock().unwrap() = true;
        ring.1.notify_one();
    }));
    let stopper: Stopper = machine.stopper();
    let running = std::thread::spawn(move || machine.run_in_slices(u64::MAX).unwrap());
    let end = std::time::Instant::now() + limit;
    while !running.is_finished() {
        printed.take_from(&console);
        let rung = bell.0.lock().unwrap();
        let (mut rung, _) =
            bell.1.wait_timeout_while(rung, Duration::from_micros(200), |rung| !*rung).unwrap();
        *rung = false;
        drop(rung);
        if std::time::Instant::now() > end {
            stopper.stop();
        }
    }
    let last = running.join().unwrap();
    printed.take_from(&console);
    last
}

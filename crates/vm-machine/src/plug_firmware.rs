//! What firmware expects beside memory: flash memory whose contents are kept, and the fw_cfg device.

use crate::machine::BuildError;
use crate::plug::Plugging;
use crate::spec::{Note, Spec};
use dev_core::{Device, Slot};
use dev_flash::{BANK_BYTES, Flash};
use dev_fwcfg::{Front, FwCfg, Items, key};
use fabric_bus::{BusFault, Dma, Target};
use host_disk::{Disk, DiskError};
use std::sync::Arc;
use support_hostmap::Pieces;
use vm_board::board::{Board, Placed};

/// A bank's contents are read so many bytes at a time.
const CHUNK: u64 = 1 << 20;
/// As what the fw_cfg device reaches memory: no number of a place for virtio devices, nor of a PCI function.
const FW_CFG_REQUESTER: u32 = u32::MAX;
/// "etc/boot-fail-wait": milliseconds until a firmware that finds nothing to start resets the machine; this is never.
const NEVER: [u8; 4] = [0xff; 4];

/// Refuses contents that the board's flash cannot have.
pub(crate) fn check_flash(board: &Board, flash: &[Arc<dyn Disk>]) -> Result<(), BuildError> {
    let banks = board.flash().map_or(0, |(_, banks)| banks);
    if flash.len() > banks as usize {
        return Err(BuildError::FlashBanks { board: board.name, banks, wanted: flash.len() });
    }
    for (bank, disk) in flash.iter().enumerate() {
        let problem = match disk.size() {
            size if size > BANK_BYTES => "its contents must be 32 MiB, and are more",
            size if size < BANK_BYTES && !disk.read_only() => {
                "its contents must be 32 MiB, and are less; only what is read-only may be"
            }
            _ if bank == 0 && !disk.read_only() => {
                "the machine starts from it, so it must be read-only; add ,ro"
            }
            _ => continue,
        };
        return Err(BuildError::FlashSize { bank, problem });
    }
    Ok(())
}

/// Bytes of the arena for programs in flash.
pub(crate) fn program_bytes(flash: &[Arc<dyn Disk>]) -> u64 {
    BANK_BYTES * flash.iter().filter(|disk| disk.read_only()).count() as u64
}

/// All bytes of a disk.
fn contents(disk: &dyn Disk) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < disk.size() {
        let at = bytes.len() as u64;
        let pieces = Pieces::scratch(CHUNK.min(disk.size() - at) as usize)?;
        disk.read(at, &pieces)?;
        bytes.extend(pieces.to_vec());
    }
    Ok(bytes)
}

impl Plugging<'_> {
    /// Plugs in the flash memory. A bank that is only read can hold a program; the others keep what is written.
    pub(crate) fn plug_flash(
        &mut self,
        placed: &Placed,
        spec: &Spec,
        banks: u32,
        rom_at: &mut u64,
    ) -> Result<(), BuildError> {
        let mut flash = Flash::new(banks as usize);
        let mut programs = Vec::new();
        for (bank, disk) in spec.flash.iter().enumerate() {
            let bytes = contents(&**disk).map_err(|source| BuildError::FlashRead { bank, source })?;
            flash.load(bank, &bytes, disk.read_only());
            programs.push(disk.read_only().then_some(bytes));
        }
        let slot = Slot::new(flash, Vec::new(), self.timers);
        self.know(placed, &slot);
        let note = spec.note.clone();
        let front: Arc<dyn Target> = Arc::new(Kept { slot, disks: spec.flash.clone(), note });
        for bank in 0..u64::from(banks) {
            let (base, offset) = (placed.base + bank * BANK_BYTES, bank * BANK_BYTES);
            let window = self.window(placed.name, &front, offset);
            match programs.get(bank as usize) {
                Some(Some(program)) => {
                    let ram = self.memory.ram();
                    // What is behind a short program's end is erased.
                    let filled =
                        ram.fill(*rom_at, BANK_BYTES, 0xff).and_then(|()| ram.copy_in(*rom_at, program));
                    let outside = BuildError::FlashSize { bank: bank as usize, problem: "it has no memory" };
                    filled.ok_or(outside)?;
                    self.builder.program_device(placed.name, base, BANK_BYTES, *rom_at, window)?;
                    *rom_at += BANK_BYTES;
                }
                _ => self.builder.device(placed.name, base, BANK_BYTES, window)?,
            }
        }
        Ok(())
    }

    /// Plugs in the fw_cfg device.
    pub(crate) fn plug_fw_cfg(&mut self, placed: &Placed, spec: &Spec) -> Result<(), BuildError> {
        let dma = Dma::new(Arc::clone(&self.memory), FW_CFG_REQUESTER);
        self.add_behind(placed, FwCfg::new(items(spec)), |slot| Arc::new(Front::new(Arc::clone(slot), dma)))?;
        Ok(())
    }
}

/// What firmware is told. A kernel is there for firmware that starts from flash; else it is in memory already.
fn items(spec: &Spec) -> Items {
    let board = &spec.board;
    let cpus = (board.cpus as u16).to_le_bytes();
    let items = Items::default()
        .with(key::UUID, [0; 16])
        .with(key::RAM_SIZE, board.memory().to_le_bytes())
        .with(key::NB_CPUS, cpus)
        .with(key::MAX_CPUS, cpus)
        .with_file("etc/boot-fail-wait", NEVER);
    let Some(kernel) = spec.kernel.as_ref().filter(|_| !spec.flash.is_empty()) else { return items };
    let size = |len: usize| (len as u32).to_le_bytes();
    let mut items = items
        .with(key::KERNEL_SIZE, size(kernel.bytes.len()))
        .with(key::KERNEL_DATA, Arc::clone(&kernel.bytes));
    if let Some(initrd) = &spec.initrd {
        items = items
            .with(key::INITRD_SIZE, size(initrd.bytes.len()))
            .with(key::INITRD_DATA, Arc::clone(&initrd.bytes));
    }
    if let Some(append) = &spec.append {
        let line = [append.as_bytes(), &[0]].concat();
        items = items.with(key::CMDLINE_SIZE, size(line.len())).with(key::CMDLINE_DATA, line);
    }
    items
}

/// Flash whose contents are kept: what a command programs or erases is in the host's file before the command is done. A
/// VMM that is killed loses none of what the guest has seen done, and leaves of what was under way what a power cut
/// would: some of the bytes.
struct Kept {
    slot: Arc<Slot<Flash>>,
    /// By number of the bank; banks behind the last are kept nowhere.
    disks: Vec<Arc<dyn Disk>>,
    note: Option<Note>,
}

impl Target for Kept {
    fn read(&self, offset: u64, size: u8) -> Result<u64, BusFault> {
        self.slot.read(offset, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) -> Result<(), BusFault> {
        // The file is written with the device locked: it gets what harts write in the order in which the device does.
        self.slot.with(|flash, now| {
            flash.write(offset, size, value, now).map_err(|_| BusFault)?;
            for (bank, at, bytes) in flash.take_changes() {
                let Some(disk) = self.disks.get(bank) else { continue };
                if let Err(error) = keep(&**disk, at, &bytes) {
                    flash.failed(bank);
                    if let Some(note) = &self.note {
                        note(&format!(
                            "flash bank {bank}: {error}; the guest is told that it could not write"
                        ));
                    }
                }
            }
            Ok(())
        })
    }
}

/// Writes changed bytes to a bank's file.
fn keep(disk: &dyn Disk, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
    let pieces = Pieces::scratch(bytes.len())?;
    // It is as long as the bytes.
    let _ = pieces.copy_in(0, bytes);
    disk.write(at, &pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fabric_clock::{Clock, Timers};
    use host_disk::{OpenOptions, open};
    use std::sync::Mutex;

    /// A file of one bank's size, and a bank that is kept in it.
    struct Bench {
        _folder: tempfile::TempDir,
        disk: Arc<dyn Disk>,
        kept: Kept,
        said: Arc<Mutex<Vec<String>>>,
    }

    fn bench(size: u64) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vars");
        std::fs::write(&file, vec![0xff; size as usize]).unwrap();
        let options = OpenOptions { format: Some(host_disk::Format::Raw), ..OpenOptions::default() };
        let disk = open(&file, &options).unwrap().disk;
        let said = Arc::new(Mutex::new(Vec::new()));
        let (told, timers) = (Arc::clone(&said), Timers::new(Arc::new(Clock::virtual_())));
        let note: Note = Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned()));
        let slot = Slot::new(Flash::new(1), Vec::new(), &timers);
        let kept = Kept { slot, disks: vec![Arc::clone(&disk)], note: Some(note) };
        Bench { _folder: folder, disk, kept, said }
    }

    impl Bench {
        fn write(&self, writes: &[(u64, u64)]) {
            for &(at, value) in writes {
                self.kept.write(at, 4, value).unwrap();
            }
        }

        fn file(&self, at: u64) -> Vec<u8> {
            let pieces = Pieces::scratch(4).unwrap();
            self.disk.read(at, &pieces).unwrap();
            pieces.to_vec()
        }
    }

    #[test]
    fn what_is_programmed_is_in_the_file_when_the_command_is_done() {
        let b = bench(BANK_BYTES);
        b.write(&[(0, 0x40_0040)]);
        assert_eq!(b.file(0x1000), [0xff; 4]);
        b.write(&[(0x1000, 0x1234_5678)]);
        assert_eq!(b.file(0x1000), [0x78, 0x56, 0x34, 0x12]);
        b.write(&[(0, 0x20_0020)]);
        assert_eq!(b.file(0x1000)[0], 0x78, "not yet confirmed");
        b.write(&[(0, 0xd0_00d0)]);
        assert_eq!(b.file(0x1000), [0xff; 4]);
        assert!(b.said.lock().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_takes_nothing_is_a_failed_program_operation() {
        let b = bench(0x1000);
        b.write(&[(0, 0x40_0040), (0x2000, 0)]);
        assert_eq!(b.kept.read(0, 4), Ok(0xb0_00b0));
        assert!(b.said.lock().unwrap()[0].starts_with("flash bank 0: "));
    }

    #[test]
    fn contents_must_fit_and_a_program_must_not_change() {
        let board = vm_board::virt::virt(&vm_board::board::Config::new(1, 1 << 28)).unwrap();
        let (whole, short) = (bench(BANK_BYTES), bench(0x1000));
        let problem = |flash: &[&Bench]| {
            let flash: Vec<_> = flash.iter().map(|b| Arc::clone(&b.disk)).collect();
            check_flash(&board, &flash).map_err(|error| error.to_string()).unwrap_err()
        };
        assert!(problem(&[&whole]).contains("add ,ro"));
        assert!(problem(&[&short]).contains("are less"));
        assert!(problem(&[&whole, &whole, &whole]).contains("2 banks"));
    }
}

//! The list of fuzz targets. To add one, add a line at the end of this file (and the crate to
//! `Cargo.toml`): name, kind, a `fn(&[u8])`, what it is.
//!
//! `cargo xtask fuzz` reads the lines too: one target, one line.

#[cfg(any(fuzzing, test))]
use crate::planted;

/// One target.
#[cfg_attr(fuzzing, allow(dead_code, reason = "a fuzzing binary holds one target, chosen when it is built"))]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Must not panic, hang or ask for memory out of proportion, whatever it is given.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:literal $kind:ident $run:path, $about:literal;)*) => {
        /// Every target.
        #[cfg_attr(fuzzing, allow(dead_code, reason = "as above"))]
        pub const ALL: &[Target] = &[$(Target { name: $name, run: $run }),*];

        /// Runs the target this binary was built for. The others are dead code to the compiler, so
        /// that the linker leaves them out and their counters do not count.
        #[cfg(fuzzing)]
        pub fn chosen(data: &[u8]) {
            $(if const { is_chosen($name) } {
                if cfg!(feature = "planted") {
                    // In place of the target: a bug behind a rich target takes hours, not seconds.
                    planted::trip(planted::Kind::$kind, data);
                } else {
                    $run(data);
                }
            })*
        }
    };
}

/// Whether `name` is what `cargo xtask fuzz` builds for.
#[cfg(fuzzing)]
const fn is_chosen(name: &str) -> bool {
    let Some(chosen) = option_env!("HOSTEL_FUZZ_TARGET") else {
        panic!("HOSTEL_FUZZ_TARGET must be set: use `cargo xtask fuzz`")
    };
    let (a, b) = (name.as_bytes(), chosen.as_bytes());
    let mut same = a.len() == b.len();
    let mut i = 0;
    while same && i < a.len() {
        same = a[i] == b[i];
        i += 1;
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn every_target_survives_its_seeds_and_some_noise() {
        for target in ALL {
            let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
            for seed in std::fs::read_dir(seeds).into_iter().flatten() {
                (target.run)(&std::fs::read(seed.unwrap().path()).unwrap());
            }
            let mut state = 1;
            for _ in 0..500 {
                let length = next(&mut state) % 256;
                let bytes: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
                (target.run)(&bytes);
            }
        }
    }

    #[test]
    fn blind_search_finds_no_planted_bug() {
        let mut state = 2;
        for _ in 0..100_000 {
            let length = next(&mut state) % 64;
            let bytes: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
            planted::trip(planted::Kind::Parser, &bytes);
            planted::trip(planted::Kind::Device, &bytes);
        }
    }

    #[test]
    fn names_are_unique() {
        for (n, target) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(n + 1).all(|other| other.name != target.name), "{}", target.name);
        }
    }
}

targets! {
    "bus" Device crate::bus::fuzz, "address maps, the bus and DMA behind an IOMMU, against a plain model";
    "riscv-text" Parser crate::instruction::riscv, "RISC-V words and halfwords, decoded and disassembled";
    "hart" Parser crate::hart::fuzz, "any code on the interpreter, at a stretch and in pieces";
    "jit" Parser crate::hart::jit, "any code on the translator and on the interpreter";
    "x86" Parser crate::x86::fuzz, "any code on the x86-64 interpreter, at a stretch and in pieces";
    "image" Parser support_image::exercise, "ELF and its notes, PE, Linux images for RISC-V and x86, device trees";
    "qcow2" Parser host_disk::fuzz::open, "qcow2 images, opened, read and written";
    "qcow2-repair" Parser host_disk::fuzz::repaired, "qcow2 images, checked and repaired";
    "ns16550" Device dev_uart::fuzz::ns16550, "16550A serial port";
    "sifive-uart" Device dev_uart::fuzz::sifive, "SiFive serial port";
    "aclint" Device dev_irq::fuzz::aclint, "ACLINT: timers and software interrupts";
    "plic" Device dev_irq::fuzz::plic, "PLIC: external interrupts";
    "i8259" Device dev_irq::fuzz::i8259, "8259 pair: a PC's interrupts";
    "ioapic" Device dev_irq::fuzz::ioapic, "I/O APIC: inputs to messages";
    "lapic" Device dev_irq::fuzz::lapic, "local APIC: vectors, timer, IPIs";
    "pci-function" Device dev_pci::fuzz::function, "a PCI function: configuration space, BARs, MSI, MSI-X";
    "pci" Device dev_pci::fuzz::complex, "a PCI root complex with bridges: routes follow registers";
    "flash" Device dev_flash::fuzz::flash, "CFI flash memory";
    "fw-cfg" Device dev_fwcfg::fuzz::registers, "QEMU's fw_cfg: registers";
    "fw-cfg-dma" Parser dev_fwcfg::fuzz::requests, "QEMU's fw_cfg: requests for DMA, with every byte they change checked";
    "goldfish-rtc" Device dev_time::fuzz::goldfish_rtc, "Goldfish real-time clock";
    "finisher" Device dev_time::fuzz::finisher, "SiFive test finisher: power-off and reset";
    "i8254" Device dev_time::fuzz::i8254, "8254 timer and port 0x61";
    "cmos" Device dev_time::fuzz::cmos, "MC146818 real-time clock";
    "i8042" Device dev_time::fuzz::i8042, "8042 keyboard controller without a keyboard";
    "pc-ports" Device dev_time::fuzz::pc_ports, "debug exit, power-off, reset control";
    "htif" Device dev_time::fuzz::htif, "HTIF: power-off and a console for bare programs";
    "prci" Device dev_sifive::fuzz::prci, "SiFive FU540: clocks and resets";
    "ccache" Device dev_sifive::fuzz::ccache, "SiFive FU540: L2 cache controller";
    "gpio" Device dev_sifive::fuzz::gpio, "SiFive GPIO: pins and their interrupts";
    "otp" Device dev_sifive::fuzz::otp, "SiFive FU540: one-time programmable memory";
    "spi-sd" Device dev_sifive::fuzz::spi, "SiFive SPI controller with an SD card: commands, data, a storage that fails";
    "sbi" Device vm_sbi::fuzz::fuzz, "the built-in SBI: calls from supervisor mode";
    "share-fuse" Parser host_share::fuzz::fuse, "a shared folder by FUSE: any requests, and a secret beside it";
    "share-9p" Parser host_share::fuzz::nine, "a shared folder by 9P2000.L, likewise";
    "virtio-mmio" Device dev_virtio::fuzz::mmio, "virtio: registers of the transport";
    "virtio-pci" Device dev_virtio::fuzz::pci, "virtio on PCI: configuration space, BARs, bus mastering, queues";
    "virtio-input" Device dev_virtio_input::fuzz::input, "virtio: the power button, by drivers of any kind";
    "control" Parser host_guest::fuzz::control, "the control socket of a guest: requests, answers, names";
    "virtio-queue" Device dev_virtio::fuzz::queue, "virtio: queues in any memory, and a device that works on them";
    "virtio-blk" Device dev_virtio_blk::fuzz::blk, "virtio block device: any driver, on a disk that minds what it is asked";
    "virtio-fs" Device dev_virtio_share::fuzz::fs, "virtio-fs: any driver, and a server of any replies";
    "virtio-9p" Device dev_virtio_share::fuzz::nine, "virtio-9p, likewise";
    "virtio-net" Device dev_virtio_net::fuzz::card, "virtio network device: any driver, and any frames";
    "virtio-balloon" Device dev_virtio_balloon::fuzz::balloon, "virtio memory balloon: a driver that gives any memory away";
    "virtio-console" Device dev_virtio_console::fuzz::console, "virtio console: any driver on its queues, any user at its ports";
    "virtio-vsock" Device dev_virtio_vsock::fuzz::vsock, "virtio socket device: any driver, and anybody on its host";
    "gem" Device dev_gem::fuzz::card, "Cadence GEM network card: any driver, any rings, any frames";
    "network" Parser host_net::fuzz::network, "the user network: frames, sockets and time, with every frame to the guest checked";
}

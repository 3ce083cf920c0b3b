//! Plans a start of the virt board and writes what is not a file yet, the boot ROM and the devicetree:
//! `cargo run -p vm-board --example plan CPUS MEBIBYTES FIRMWARE KERNEL INITRD FOLDER [BOOTARGS]`
use std::error::Error;
use std::path::Path;
use support_image::kernel::Kernel;
use vm_board::board::Config;
use vm_board::layout::{Firmware, Payload};
use vm_board::plan::Start;
use vm_board::virt::virt;

fn payload(path: &str) -> Result<Payload, Box<dyn Error>> {
    let file = std::fs::read(path)?;
    let kernel = Kernel::parse(&file).map_err(|error| format!("{path}: {error}"))?;
    Ok(Payload::of(&kernel, file.len() as u64))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [cpus, mebibytes, firmware, kernel, initrd, folder, bootargs @ ..] = arguments.as_slice() else {
        return Err("give CPUs, mebibytes of memory, firmware, kernel, initrd and a folder to write".into());
    };
    let board = virt(&Config::new(cpus.parse()?, mebibytes.parse::<u64>()? << 20))?;
    let plan = board.plan(&Start {
        firmware: Firmware::Loaded(payload(firmware)?),
        kernel: Some(payload(kernel)?),
        initrd: Some(std::fs::metadata(initrd)?.len()),
        bootargs: Some(bootargs.join(" ")),
        resident: None,
        rng_seed: vec![7; 32],
        boot_hart: 0,
    })?;
    std::fs::write(Path::new(folder).join("boot-rom.bin"), &plan.boot_rom)?;
    std::fs::write(Path::new(folder).join("virt.dtb"), &plan.fdt)?;
    println!("{:#x?}", plan.layout);
    Ok(())
}

//! Writes a board's devicetree blob: `cargo run -p vm-board --example board virt|spike CPUS MEBIBYTES FILE [BOOTARGS]`
use std::error::Error;
use vm_board::board::Config;
use vm_board::tree::Chosen;
use vm_board::{spike, virt};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, cpus, mebibytes, file, bootargs @ ..] = arguments.as_slice() else {
        return Err("give a board, CPUs, mebibytes of memory and a file to write".into());
    };
    let config = Config::new(cpus.parse()?, mebibytes.parse::<u64>()? << 20);
    let board = match name.as_str() {
        "virt" => virt::virt(&config)?,
        "spike" => spike::spike(&config)?,
        other => return Err(format!("there is no board {other}").into()),
    };
    let bootargs = (!bootargs.is_empty()).then(|| bootargs.join(" "));
    std::fs::write(file, board.fdt(&Chosen { bootargs, rng_seed: vec![7; 32], ..Chosen::default() })?)?;
    for (name, range) in board.address_map() {
        println!("{:#012x}..{:#012x} {name}", range.start, range.end);
    }
    Ok(())
}

//! Fuzz targets: what the guest, an image or a file may say, said by libFuzzer.
//!
//! `cargo xtask fuzz` builds this with the compiler's coverage counters and libFuzzer, once for each
//! target, so that a binary holds just the code its target reaches and "percent covered" means
//! something. Built plainly it replays inputs: `cargo run -p hostel-fuzz -- TARGET FILE...`. It knows
//! nothing of what the targets do; `targets.rs` is the list.
#![cfg_attr(fuzzing, no_main)]

mod bus;
#[cfg(fuzzing)]
mod coverage;
mod hart;
mod input;
mod instruction;
#[cfg(any(fuzzing, test))]
mod planted;
mod targets;
mod x86;

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::chosen(data);
    coverage::note();
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty()) else {
        eprintln!("Usage: cargo run -p hostel-fuzz -- TARGET FILE...   (`cargo xtask fuzz` fuzzes)");
        return std::process::ExitCode::from(2);
    };
    let Some(target) = targets::ALL.iter().find(|t| t.name == name) else {
        eprintln!("error: no target `{name}`; `cargo xtask fuzz --list` says which there are");
        return std::process::ExitCode::from(2);
    };
    for file in files {
        match std::fs::read(file) {
            Ok(data) => (target.run)(&data),
            Err(error) => {
                eprintln!("error: {file}: {error}");
                return std::process::ExitCode::FAILURE;
            }
        }
        println!("{file}: {} survives", target.name);
    }
    std::process::ExitCode::SUCCESS
}

//! Says what files are: `cargo run -p support-image --example identify FILE...`
use support_image::kernel::Kernel;

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path)?;
        match Kernel::parse(&file) {
            Ok(Kernel::Elf(elf)) => {
                println!("{path}: ELF, entry {:#x}, occupies {:#x?}", elf.entry_paddr(), elf.extent());
            }
            Ok(Kernel::Image(image)) => println!("{path}: Linux {image:#x?}"),
            Ok(Kernel::Flat) => println!("{path}: flat"),
            Err(error) => println!("{path}: {error}"),
        }
    }
    Ok(())
}

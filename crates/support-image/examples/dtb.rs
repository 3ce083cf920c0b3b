//! Prints devicetree blobs as source text, or as one line for each property:
//! `cargo run -p support-image --example dtb [--lines] FILE.dtb...`
use std::process::ExitCode;
use support_image::fdt::Tree;

fn main() -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    let mut lines = false;
    for path in std::env::args().skip(1) {
        if path == "--lines" {
            lines = true;
            continue;
        }
        let tree = std::fs::read(&path).map_err(|error| error.to_string());
        match tree.and_then(|blob| Tree::parse(&blob).map_err(|error| error.to_string())) {
            Ok(tree) if lines => println!("{}", tree.to_lines().join("\n")),
            Ok(tree) => print!("{}", tree.to_dts()),
            Err(error) => {
                eprintln!("{path}: {error}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

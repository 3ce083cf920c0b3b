//! The `hostel` binary: command line in, machine out.
//!
//! `docs/command-line.md` is the reference of what this crate does. It decides nothing about machines: it turns
//! words into values ([`choice`]), merges them ([`description`]), hands them to the libraries and turns what comes
//! back into an exit status and at most one line on standard error ([`status`]).
#![forbid(unsafe_code)]

mod attach;
mod balloon;
mod bench;
mod choice;
mod command;
mod command_docs;
mod command_guest;
mod command_image;
mod complete;
mod console;
mod consoles;
mod cpu;
mod description;
mod detach;
mod disk;
mod disk_image;
mod doctor;
mod engine;
mod file;
mod flash;
mod guests;
mod image;
mod isa;
mod keeper;
mod life;
mod man;
mod named;
mod net;
mod origin;
mod port;
mod random;
mod resolv;
mod run;
mod say;
mod second_stage;
mod serve;
mod serve_network;
mod share;
mod status;
mod text;
mod virtio_bus;
mod vsock;

use clap::Parser;
use command::{Command, Verb};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match complete::answer_shell() {
        Ok(true) => Ok(status::SUCCESS),
        Ok(false) => Command::try_parse().map_or_else(|error| say::usage(&error), dispatch),
        Err(error) => say::usage(&error),
    };
    let status = result.unwrap_or_else(|error| {
        say::error(&error);
        status::HOSTEL
    });
    ExitCode::from(status)
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command.verb {
        None => say::help(&[]),
        Some(Verb::Help { verb }) => say::help(&verb.iter().map(String::as_str).collect::<Vec<_>>()),
        Some(Verb::Run(options)) => run::run(*options),
        Some(Verb::List(options)) => guests::list(&options),
        Some(Verb::Attach(options)) => attach::attach(&options),
        Some(Verb::Stop(options)) => guests::stop(&options),
        Some(Verb::Remove(options)) => guests::remove(&options),
        Some(Verb::Image(options)) => image::image(options),
        Some(Verb::Bench(options)) => bench::bench(*options),
        Some(Verb::Isa(options)) => isa::isa(&options),
        Some(Verb::Doctor(_)) => doctor::doctor(),
        Some(Verb::Completions(options)) => complete::completions(&options),
        Some(Verb::Man(options)) => man::man(&options),
        Some(Verb::ServeFolder { words }) => serve::serve(&words),
        Some(Verb::ServeNetwork { config }) => serve_network::serve(&config),
    }
}

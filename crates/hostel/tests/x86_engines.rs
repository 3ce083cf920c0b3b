//! `--engine kvm` and `--cpu` on boards with x86-64 processors: what is refused, and a guest on KVM where there is one.

mod guest;

use guest::*;
use snapbox::str;

/// The engines that this host's KVM offers; says what it lacks for the others.
fn offered() -> Vec<&'static str> {
    match engine_kvm::probe() {
        Err(error) => {
            eprintln!("skipped: {error}");
            Vec::new()
        }
        Ok(offer) => match offer.lacks() {
            Some(what) => {
                eprintln!("skipped: this host's KVM lacks {what}");
                Vec::new()
            }
            None if offer.irqchip => vec!["kvm", "kvm,irqchip=user"],
            None => {
                eprintln!("skipped: this host's KVM has no interrupt controller");
                vec!["kvm,irqchip=user"]
            }
        },
    }
}

#[test]
fn a_guest_runs_on_kvm() {
    for engine in offered() {
        for (code, status) in [(POWER_OFF, 0), (EXIT_7, 7)] {
            let files = Files::new();
            files.add("k", pvh(code));
            let arguments =
                ["run", "--machine", "microvm", "--memory", "64M", "--engine", engine, "--kernel", "k"];
            files.hostel(&arguments).assert().code(status).stdout_eq("").stderr_eq("");
        }
    }
}

#[test]
fn kvm_where_it_cannot_be_is_refused() {
    let files = Files::new();
    files.add("k", pvh(POWER_OFF));
    for engine in ["kvm", "kvm,irqchip=user"] {
        files.wrong(
            &["run", "--kernel", "k", "--engine", engine],
            str![
                "KVM runs what this host's processor is, and the board virt has RISC-V harts; use --engine interp, or --machine microvm"
            ],
        );
        files.wrong(
            &["run", "--machine", "microvm", "--kernel", "k", "--engine", engine, "--clock", "virtual"],
            str![
                "a virtual clock counts instructions, which KVM does not; use --engine interp, or --clock real"
            ],
        );
    }
    files.wrong(
        &["run", "--kernel", "k", "--engine", "tcg"],
        str![
            "invalid value 'tcg' for '--engine <NAME>': there is no engine \"tcg\"; known engines: interp, jit, check, kvm, kvm,irqchip=user; see `hostel run --help`"
        ],
    );
    files.wrong(
        &["run", "--machine", "microvm", "--kernel", "k", "--engine", "jit"],
        str![[
            "the translator is for boards of RISC-V harts, and the board microvm has x86-64 processors; use --engine interp, or --engine kvm"
        ]],
    );
    files.add("m.toml", "machine = \"spike\"\nengine = \"kvm\"\nkernel = \"k\"\n");
    files.wrong(
        &["run", "m.toml"],
        str![
            "m.toml:2:10: KVM runs what this host's processor is, and the board spike has RISC-V harts; use --engine interp, or --machine microvm"
        ],
    );
}

#[test]
fn what_microvm_does_not_take() {
    let files = Files::new();
    files.add("k", pvh(POWER_OFF));
    files.wrong(
        &["run", "--machine", "microvm", "--kernel", "k", "--cpu", "rv64gc"],
        str!["the CPU of the board microvm cannot be chosen yet; leave --cpu out"],
    );
    files.wrong(
        &["run", "--machine", "microvm", "--kernel", "k", "--cpus", "2"],
        str!["2 CPUs are too many; the microvm board has room for 1"],
    );
    // No argument of a program can hold a NUL; a file's can.
    files.add("m.toml", "machine = \"microvm\"\nkernel = \"k\"\nappend = \"a\\u0000b\"\n");
    files.wrong(
        &["run", "m.toml"],
        str!["m.toml:3:10: the kernel's command line contains a NUL character; remove it from --append"],
    );
}

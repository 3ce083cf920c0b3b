//! What there is to measure.

use crate::options::{BenchOptions, Form};
use anyhow::bail;
use std::fmt::Write as _;

/// What a program measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A computation, by its time.
    Kernel,
    /// One in floating point.
    Float,
    /// The same work on one hart and on two.
    Parallel,
    /// A single operation, by its time less that of an empty loop.
    Operation,
    /// A part of `python.py`.
    Python,
}

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// As typed, and the name of its source.
    pub name: &'static str,
    /// What it is, in half a line.
    pub about: &'static str,
    /// What it measures.
    pub kind: Kind,
    /// Where it can run.
    pub forms: &'static [Form],
}

const ALL: &[Form] = &[Form::Bare, Form::Sv39, Form::Linux];
const METAL: &[Form] = &[Form::Bare, Form::Sv39];
const PAGED: &[Form] = &[Form::Sv39];
const GUEST: &[Form] = &[Form::Linux];

const fn kernel(name: &'static str, about: &'static str) -> Program {
    Program { name, about, kind: Kind::Kernel, forms: ALL }
}

const fn float(name: &'static str, about: &'static str) -> Program {
    Program { kind: Kind::Float, ..kernel(name, about) }
}

const fn operation(name: &'static str, about: &'static str, forms: &'static [Form]) -> Program {
    Program { name, about, kind: Kind::Operation, forms }
}

const fn python(name: &'static str, about: &'static str) -> Program {
    Program { name, about, kind: Kind::Python, forms: GUEST }
}

impl Program {
    /// The parts that it says it did in this form, in their order.
    pub fn parts(&self, form: Form) -> Vec<String> {
        let name = match (self.name, form) {
            ("trap", Form::Sv39) => "ebreak_sret",
            ("trap", _) => "ecall_mret",
            (name, _) => name,
        };
        match self.kind {
            Kind::Kernel | Kind::Float | Kind::Python => vec![name.to_owned()],
            Kind::Parallel => [1, 2].map(|harts| format!("{name}.{harts}")).into(),
            Kind::Operation => vec![format!("{name}.empty"), name.to_owned()],
        }
    }

    /// Whether it is C that runs anywhere.
    pub fn portable(&self) -> bool {
        matches!(self.kind, Kind::Kernel | Kind::Float | Kind::Parallel)
    }
}

/// Every program.
pub const PROGRAMS: &[Program] = &[
    kernel("fib", "calls and returns: Fibonacci numbers by recursion"),
    kernel("sieve", "byte stores with a stride: primes below 4 million"),
    kernel("sha", "rotations and additions in registers: SHA-256"),
    kernel("qsort", "quicksort through a comparison function"),
    kernel("sort", "heapsort, merge sort, radix sort with the comparison in line"),
    kernel("chase_l1", "dependent loads within 16 KiB"),
    kernel("chase_32m", "dependent loads over 32 MiB, which Hostel's TLB just reaches"),
    float("matmul", "matrix products in double precision, fused multiply-add"),
    float("mandel", "Mandelbrot set in double precision"),
    float("nbody_f32", "single precision with divisions and square roots"),
    kernel("interp", "a bytecode interpreter with indirect jumps"),
    kernel("copy", "memory copies and fills, 64 bytes to 256 KiB"),
    kernel("strings", "CRC-32, string lengths, comparisons, searches, hashes"),
    kernel("core", "lists, small matrices, a state machine, CRC-16, in CoreMark's proportions"),
    Program { name: "smp", about: "the same work on one hart and on two", kind: Kind::Parallel, forms: ALL },
    operation("call", "call of a known function, and return", METAL),
    operation("icall", "call through a pointer that changes, and return", METAL),
    operation("csrr", "read of a scratch CSR", METAL),
    operation("csrw_satp", "write of satp with the value it has", METAL),
    operation("rdtime", "read of the clock", METAL),
    operation("trap", "ecall and mret in M-mode; ebreak and sret in S-mode", METAL),
    operation("illegal", "illegal instruction, handler and return", METAL),
    operation("sfence", "sfence.vma of everything", METAL),
    operation("sfence_touch", "a touch of one of 64 pages after sfence.vma", METAL),
    operation("fence_i", "fence.i", METAL),
    operation("load_hit", "independent loads from 64 pages", METAL),
    operation("store_hit", "stores to 64 pages", METAL),
    operation("pages_1000", "loads round-robin over 1000 pages: TLB hits, but QEMU's is smaller", METAL),
    operation("pages_16384", "loads from 16384 pages in random order: TLB misses", PAGED),
    operation("random_32m", "random loads of 8 bytes over 32 MiB, which Hostel's TLB just reaches", METAL),
    operation("amoadd", "amoadd.d of a word nobody else wants", METAL),
    operation("lr_sc", "lr.d, add, sc.d of a word nobody else wants", METAL),
    operation("syscall", "ecall from U-mode to S-mode, registers saved, and back", PAGED),
    operation("asid_switch", "satp to another address space, and 8 pages touched there", PAGED),
    python("py_fib", "Python: recursion"),
    python("py_float", "Python: floating point"),
    python("py_json", "Python: JSON out and in"),
    python("py_dict", "Python: dictionaries and strings"),
];

/// Which programs, in which forms.
pub struct Choice {
    programs: Vec<&'static Program>,
    forms: Vec<Form>,
    insisted: Vec<Form>,
}

/// The forms that were named, and those that are the only ones of a program that was.
fn needed(programs: &[&Program], named: &[Form]) -> Vec<Form> {
    let only = programs.iter().filter_map(|program| match *program.forms {
        [form] => Some(form),
        _ => None,
    });
    named.iter().copied().chain(only).collect()
}

fn names(forms: &[Form], between: &str) -> String {
    forms.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

impl Choice {
    /// What the options ask for.
    ///
    /// # Errors
    /// If a name is of no program, a chosen program has none of the chosen forms, a chosen form none of the programs, or
    /// whole machines are to be checked, which compute nothing.
    pub fn of(options: &BenchOptions) -> anyhow::Result<Choice> {
        let find = |name: &String| PROGRAMS.iter().find(|program| program.name == *name);
        if let Some(name) = options.kernel.iter().find(|name| find(name).is_none()) {
            bail!("there is nothing called {name:?} to measure; `hostel bench --list` says what there is");
        }
        let all = options.kernel.is_empty();
        let programs: Vec<&Program> =
            PROGRAMS.iter().filter(|p| all || options.kernel.iter().any(|name| name == p.name)).collect();
        let forms = match (&*options.form, all) {
            // Who names kernels does not mean to boot machines.
            ([], false) => vec![Form::Bare, Form::Sv39, Form::Linux],
            ([], true) => vec![Form::Bare, Form::Sv39, Form::Linux, Form::Machine],
            (forms, _) => forms.to_vec(),
        };
        for program in programs.iter().filter(|_| !all) {
            if !program.forms.iter().any(|form| forms.contains(form)) {
                bail!("{} runs in the form {} only", program.name, names(program.forms, " or "));
            }
        }
        for form in options.form.iter().filter(|form| **form != Form::Machine) {
            if !programs.iter().any(|program| program.forms.contains(form)) {
                bail!("nothing of what is named runs in the form {form}; leave --form {form} out");
            }
        }
        if options.check && options.form.contains(&Form::Machine) {
            bail!(
                "--check compares what is computed, and whole machines compute nothing; leave --form machine out"
            );
        }
        let insisted = if all { options.form.clone() } else { needed(&programs, &options.form) };
        Ok(Choice { programs, forms, insisted })
    }

    /// Whether this form was asked for by name, or a program that has no other one was: then it is an error that it cannot
    /// be had.
    pub fn insists_on(&self, form: Form) -> bool {
        self.insisted.contains(&form)
    }

    /// Whether this form is wanted.
    pub fn has(&self, form: Form) -> bool {
        self.forms.contains(&form)
    }

    /// The programs to run in this form.
    pub fn programs(&self, form: Form) -> impl Iterator<Item = &'static Program> {
        let wanted = self.has(form);
        self.programs.iter().copied().filter(move |program| wanted && program.forms.contains(&form))
    }
}

/// The answer to `--list`.
pub fn list() -> String {
    let mut text = String::new();
    for program in PROGRAMS {
        let _ = writeln!(text, "{:13} {:16} {}", program.name, names(program.forms, ","), program.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(kernels: &[&str], forms: &[Form]) -> anyhow::Result<Choice> {
        let kernel = kernels.iter().map(ToString::to_string).collect();
        Choice::of(&BenchOptions { kernel, form: forms.to_vec(), ..BenchOptions::default() })
    }

    #[test]
    fn everything_is_the_default_and_names_narrow_it() {
        let all = choice(&[], &[]).unwrap();
        assert_eq!(all.programs(Form::Sv39).count() + 4, PROGRAMS.len());
        assert_eq!(all.programs(Form::Bare).count() + 7, PROGRAMS.len());
        assert!(all.has(Form::Machine));
        let some = choice(&["call", "fib"], &[]).unwrap();
        let names = |form| some.programs(form).map(|p| p.name).collect::<Vec<_>>();
        assert_eq!((names(Form::Bare), names(Form::Linux)), (vec!["fib", "call"], vec!["fib"]));
        assert!(!some.has(Form::Machine));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let why = |kernels: &[&str], forms: &[Form]| choice(kernels, forms).err().unwrap().to_string();
        assert!(why(&["fub"], &[]).contains("--list"));
        assert_eq!(why(&["syscall"], &[Form::Bare]), "syscall runs in the form sv39 only");
        assert!(why(&["call"], &[Form::Bare, Form::Linux]).contains("runs in the form linux;"));
        let form = vec![Form::Machine];
        let check = Choice::of(&BenchOptions { form, check: true, ..BenchOptions::default() });
        assert!(check.err().unwrap().to_string().contains("leave --form machine out"));
    }

    #[test]
    fn what_was_named_is_insisted_on() {
        let insists =
            |kernels: &[&str], forms: &[Form], form| choice(kernels, forms).unwrap().insists_on(form);
        assert!(!insists(&[], &[], Form::Linux) && !insists(&["fib"], &[], Form::Linux));
        assert!(insists(&[], &[Form::Linux], Form::Linux) && insists(&["fib", "py_fib"], &[], Form::Linux));
    }

    #[test]
    fn parts_are_as_the_sources_name_them() {
        let parts = |name: &str, form| PROGRAMS.iter().find(|p| p.name == name).unwrap().parts(form);
        assert_eq!(parts("fib", Form::Linux), ["fib"]);
        assert_eq!(parts("smp", Form::Bare), ["smp.1", "smp.2"]);
        assert_eq!(parts("trap", Form::Bare), ["ecall_mret.empty", "ecall_mret"]);
        assert_eq!(parts("trap", Form::Sv39), ["ebreak_sret.empty", "ebreak_sret"]);
    }

    #[test]
    fn every_kernel_has_its_source_and_every_operation_its_loop() {
        let micro = crate::sources::text("micro.S").unwrap();
        for program in PROGRAMS {
            match program.kind {
                Kind::Operation => assert!(micro.contains(&format!("defined(OP_{})", program.name))),
                Kind::Python => assert!(crate::sources::text("python.py").unwrap().contains(program.name)),
                Kind::Kernel | Kind::Float | Kind::Parallel => {
                    let source = crate::sources::text(&format!("{}.c", program.name)).unwrap();
                    assert!(source.contains(&format!("kernel_name[] = \"{}\"", program.name)));
                }
            }
        }
    }
}

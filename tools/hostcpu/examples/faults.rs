//! Prints what the kernel of this host reports for each kind of fault:
//! `cargo run -p hostcpu --example faults`.

use hostcpu::{CODE, CODE_BYTES, DATA, DATA_BYTES, Oracle, RAX, RCX, RDI, READ_ONLY, RSP, Regs};

const END: u64 = DATA + DATA_BYTES as u64;
const CODE_END: u64 = CODE + CODE_BYTES as u64;

type Case = (&'static str, &'static [u8], &'static [(usize, u64)], u64);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("div rcx, rcx = 0",             &[0x48, 0xf7, 0xf1],             &[],                              CODE),
    ("int1",                         &[0xf1],                         &[],                              CODE),
    ("int3",                         &[0xcc],                         &[],                              CODE),
    ("int 3 (two bytes)",            &[0xcd, 3],                      &[],                              CODE),
    ("int 4",                        &[0xcd, 4],                      &[],                              CODE),
    ("int 0x21",                     &[0xcd, 0x21],                   &[],                              CODE),
    ("ud2",                          &[0x0f, 0x0b],                   &[],                              CODE),
    ("push es (no such)",            &[0x06],                         &[],                              CODE),
    ("lock add rax, rax",            &[0xf0, 0x48, 0x01, 0xc0],       &[],                              CODE),
    ("hlt",                          &[0xf4],                         &[],                              CODE),
    ("cli",                          &[0xfa],                         &[],                              CODE),
    ("in al, dx",                    &[0xec],                         &[],                              CODE),
    ("mov rax, cr0",                 &[0x0f, 0x20, 0xc0],             &[],                              CODE),
    ("rdmsr",                        &[0x0f, 0x32],                   &[],                              CODE),
    ("16 bytes",                     &[0x66; 16],                     &[],                              CODE),
    ("load, unmapped",               &[0x48, 0x8b, 0x00],             &[(RAX, END)],                    CODE),
    ("load, crosses into unmapped",  &[0x48, 0x8b, 0x00],             &[(RAX, END - 3)],                CODE),
    ("store, unmapped",              &[0x48, 0x89, 0x00],             &[(RAX, DATA - 8)],               CODE),
    ("store, crosses out of unmapped", &[0x48, 0x89, 0x00],           &[(RAX, DATA - 3)],               CODE),
    ("store, read-only",             &[0x48, 0x89, 0x00],             &[(RAX, READ_ONLY)],              CODE),
    ("store, crosses into read-only", &[0x48, 0x89, 0x00],            &[(RAX, READ_ONLY - 3)],          CODE),
    ("add [rax], read-only",         &[0x48, 0x01, 0x00],             &[(RAX, READ_ONLY)],              CODE),
    ("add [rax], unmapped",          &[0x48, 0x01, 0x00],             &[(RAX, END)],                    CODE),
    ("load, address 0",              &[0x48, 0x8b, 0x00],             &[],                              CODE),
    ("load, kernel's half",          &[0x48, 0x8b, 0x00],             &[(RAX, 0xffff_8000_0000_0000)],  CODE),
    ("store, kernel's half",         &[0x48, 0x89, 0x00],             &[(RAX, 0xffff_ffff_8100_0000)],  CODE),
    ("load, last page of the user's", &[0x48, 0x8b, 0x00],            &[(RAX, 0x7fff_ffff_f000)],       CODE),
    ("load, not canonical",          &[0x48, 0x8b, 0x00],             &[(RAX, 1 << 47)],                CODE),
    ("push, not canonical",          &[0x50],                         &[(RSP, 1 << 63)],                CODE),
    ("push, unmapped",               &[0x50],                         &[(RSP, DATA)],                   CODE),
    ("jmp rax, not canonical",       &[0xff, 0xe0],                   &[(RAX, 1 << 63)],                CODE),
    ("ret, not canonical",           &[0xc3],                         &[(RSP, DATA + 8)],               CODE),
    ("jmp rax, unmapped",            &[0xff, 0xe0],                   &[(RAX, END)],                    CODE),
    ("jmp rax, kernel's half",       &[0xff, 0xe0],                   &[(RAX, 0xffff_8000_0000_0000)],  CODE),
    ("jmp rax, data",                &[0xff, 0xe0],                   &[(RAX, DATA)],                   CODE),
    ("call rax, stack unmapped",     &[0xff, 0xd0],                   &[(RAX, CODE), (RSP, DATA)],      CODE),
    ("fetch, crosses into unmapped", &[0x48, 0x01, 0xc8],             &[],                              CODE_END - 2),
    ("nop, last byte of the code",   &[0x90],                         &[],                              CODE_END - 1),
    ("rep stosb into read-only",     &[0xf3, 0xaa],                   &[(RDI, READ_ONLY - 5), (RCX, u64::MAX)], CODE),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut oracle = Oracle::new()?;
    if let Some(word) = oracle.data().get_mut(8..16) {
        word.copy_from_slice(&(1_u64 << 62).to_le_bytes());
    }
    println!(
        "{:31} {:4} {:4} {:>16}   {:4} {:>4} {:>16} {:>16}  flags",
        "", "sig", "code", "si_addr", "trap", "err", "cr2", "rip"
    );
    for (name, code, set, rip) in CASES {
        let mut regs = Regs { rip: *rip, ..Regs::default() };
        for (n, value) in *set {
            if let Some(register) = regs.gpr.get_mut(*n) {
                *register = *value;
            }
        }
        let outcome = oracle.run(code, &mut regs);
        match oracle.signal() {
            Some(s) => println!(
                "{name:31} {:4} {:4} {:16x}   {:4} {:4x} {:16x} {:16x}  {:x}",
                s.number, s.code, s.address, s.trap, s.error, s.cr2, s.rip, s.rflags
            ),
            None => println!("{name:31} no signal"),
        }
        println!("    {outcome:x?}  rip {:x}", regs.rip);
    }
    Ok(())
}

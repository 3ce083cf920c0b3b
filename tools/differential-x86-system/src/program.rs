//! The guest's program: the way to 64-bit mode, and the driver that runs one case after another and says how each ended.

use crate::layout::*;
use anyhow::Result;
use iced_x86::code_asm::*;

pub fn assemble(
    bits: u32,
    at: u64,
    build: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Result<Vec<u8>> {
    let mut a = CodeAssembler::new(bits)?;
    build(&mut a)?;
    Ok(a.assemble(at)?)
}

/// Descriptor with base 0, limit 4 GiB.
fn flat(kind: u64, dpl: u64, flags: u64) -> u64 {
    0xffff | (kind | 1 << 4 | dpl << 5 | 1 << 7) << 40 | (0xf | flags << 4) << 48
}

/// A present 64-bit gate, first half.
fn gate(offset: u64, dpl: u64, ist: u64) -> u64 {
    offset & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | (ist | (0xe | dpl << 5 | 1 << 7) << 8) << 32
        | (offset >> 16) << 48
}

/// Low memory as it is when the driver starts.
pub struct Image(pub Vec<u8>);

impl Image {
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        let at = at as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    pub fn put_word(&mut self, at: u64, v: u64) {
        self.put(at, &v.to_le_bytes());
    }

    /// Tables, handlers and driver for `cases`; `descriptors` go from [`RANDOM`] on, `gates` from [`GATES`] on.
    pub fn new(cases: &[&[u8]], descriptors: &[u64], gates: &[[u64; 2]]) -> Result<Image> {
        let mut image = Image(vec![0; IMAGE as usize]);
        image.tables(descriptors, gates);
        for n in 0..256u64 {
            let at = HANDLERS + 32 * n;
            let code = assemble(64, at, |a| {
                a.mov(qword_ptr(RECORD + 80), rax)?;
                a.mov(eax, n as u32)?;
                a.jmp(DRIVER)
            })?;
            image.put(at, &code);
        }
        let driver = driver()?;
        image.put(DRIVER, &driver);
        // Where system calls lead: the end of the case.
        image.put(CASES - 0x100, &[0xcd, DONE]);
        image.put_word(COUNT, cases.len() as u64);
        // Drawn call gates lead behind the first case: to `int3`, whose gate is open to all.
        image.0[CASES as usize..].fill(0xcc);
        for (n, case) in (0..).zip(cases) {
            anyhow::ensure!(case.len() as u64 <= CASE_SIZE, "case {n} is too long");
            image.put(CASES + CASE_SIZE * n, case);
        }
        let tables = image.0[PML4 as usize..TABLES_END as usize].to_vec();
        image.put(PRISTINE, &tables);
        Ok(image)
    }

    fn tables(&mut self, descriptors: &[u64], gates: &[[u64; 2]]) {
        self.put_word(PML4, PDPT | 7);
        self.put_word(PDPT, PD | 7);
        self.put_word(PD, PT | 7);
        // The top of the address space, for the ROM that starts it all.
        self.put_word(PDPT + 24, PD | 7);
        self.put_word(PD + 511 * 8, 0xffe0_0083);
        // A supervisor's pages, so that SMEP and SMAP let the driver live; cases are the user's too.
        (0..512).for_each(|n| self.put_word(PT + 8 * n, n << 12 | 0x63));
        let user = (CASES..IMAGE).step_by(4096).chain([USER_STACK & !0xfff, PAGE]);
        user.for_each(|page| self.put_word(PT + (page >> 12) * 8, page | 0x67));
        let entries = [
            0,
            flat(0xb, 0, 0xa),
            flat(3, 0, 0xc),
            flat(0xb, 3, 0xc),
            flat(3, 3, 0xc),
            flat(0xb, 3, 0xa),
            flat(0xb, 0, 0xc),
            0x67 | TSS << 16 | 0x89 << 40,
            0,
        ];
        let all = entries.iter().chain(descriptors);
        for (n, entry) in (0..=GDT_LIMIT / 8).zip(all) {
            self.put_word(GDT + 8 * n, *entry);
        }
        for n in 0..256u64 {
            let (dpl, ist) = match n {
                3 | 4 => (3, 0),
                8 => (0, 1),
                _ if n == u64::from(DONE) => (3, 0),
                _ => (0, 0),
            };
            self.put_word(IDT + 16 * n, gate(HANDLERS + 32 * n, dpl, ist));
        }
        for (n, [low, high]) in (u64::from(GATES)..).zip(gates) {
            self.put_word(IDT + 16 * n, *low);
            self.put_word(IDT + 16 * n + 8, *high);
        }
        self.put_word(TSS + 4, INNER_STACK);
        self.put_word(TSS + 0x24, IST1);
        self.put(TSS + 0x66, &[0x68, 0]);
    }
}

/// The registers that a record holds, from its 80th byte on.
fn registers() -> [AsmRegister64; 16] {
    [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
}

/// Entered with the vector in EAX at [`DRIVER`]: writes the record, restores everything, runs the next case.
fn driver() -> Result<Vec<u8>> {
    assemble(64, DRIVER, |a| {
        let mut first = a.create_label();
        let mut last = a.create_label();
        a.cmp(eax, 0x1ff)?;
        a.je(first)?;
        record(a)?;
        a.set_label(&mut first)?;
        restore(a)?;
        a.mov(rax, qword_ptr(NEXT))?;
        a.cmp(rax, qword_ptr(COUNT))?;
        a.jae(last)?;
        a.inc(qword_ptr(NEXT))?;
        a.shl(rax, 8)?;
        a.add(rax, CASES as i32)?;
        a.mov(qword_ptr(RECORD + 0x3f8), rax)?;
        for (n, register) in (1u64..).zip(registers()) {
            if register != rsp {
                a.mov(register, n * 0x0101_0101)?;
            }
        }
        a.jmp(qword_ptr(RECORD + 0x3f8))?;
        a.set_label(&mut last)?;
        a.mov(dx, 0xf4)?;
        a.mov(al, 1)?;
        a.out(dx, al)?;
        a.hlt()
    })
}

fn record(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(qword_ptr(RECORD), rax)?;
    for (n, register) in (0u64..).zip(registers()).skip(1) {
        a.mov(qword_ptr(RECORD + 80 + 8 * n), register)?;
    }
    for n in 0..8u64 {
        a.mov(rax, qword_ptr(rsp + 8 * n as i32))?;
        a.mov(qword_ptr(RECORD + 16 + 8 * n), rax)?;
    }
    // User code may have left AC.
    a.mov(rsp, STACK)?;
    a.pushfq()?;
    a.pop(rax)?;
    a.mov(qword_ptr(RECORD + 8), rax)?;
    a.cld()?;
    let mut slot = RECORD + 208;
    for control in [cr0, cr2, cr4] {
        a.mov(rax, control)?;
        a.mov(qword_ptr(slot), rax)?;
        slot += 8;
    }
    a.mov(rax, dr6)?;
    a.mov(qword_ptr(slot), rax)?;
    slot += 8;
    for msr in [0xc000_0080u32, 0xc000_0100, 0xc000_0101, 0xc000_0102] {
        a.mov(ecx, msr)?;
        a.rdmsr()?;
        a.mov(dword_ptr(slot), eax)?;
        a.mov(dword_ptr(slot + 4), edx)?;
        slot += 8;
    }
    for segment in [es, cs, ss, ds, fs, gs] {
        a.mov(word_ptr(slot), segment)?;
        slot += 2;
    }
    a.sldt(word_ptr(slot))?;
    a.str(word_ptr(slot + 2))?;
    // The descriptors, with their accessed and busy bits, and the entry of the page.
    a.mov(esi, GDT as u32)?;
    a.mov(edi, (RECORD + 0x180) as u32)?;
    a.mov(ecx, 32)?;
    a.rep().movsq()?;
    a.mov(rax, qword_ptr(PT + (PAGE >> 12) * 8))?;
    a.mov(qword_ptr(RECORD + 0x280), rax)?;
    a.mov(dx, 0xe9)?;
    a.mov(esi, RECORD as u32)?;
    a.mov(ecx, 0x290)?;
    a.rep().outsb()
}

fn restore(a: &mut CodeAssembler) -> Result<(), IcedError> {
    // Supervisors may write anything, and no case has left SMAP.
    a.mov(eax, 0x8001_0033u32)?;
    a.mov(cr0, rax)?;
    a.mov(eax, 0x620)?;
    a.mov(cr4, rax)?;
    a.cld()?;
    a.mov(esi, PRISTINE as u32)?;
    a.mov(edi, PML4 as u32)?;
    a.mov(ecx, ((TABLES_END - PML4) / 8) as u32)?;
    a.rep().movsq()?;
    // What earlier cases left on the stacks.
    a.xor(eax, eax)?;
    a.mov(edi, 0xc000)?;
    a.mov(ecx, 0x800)?;
    a.rep().stosq()?;
    // The page's first bytes: `int3`, should it be jumped to.
    a.mov(rax, 0xcccc_cccc_cccc_ccccu64)?;
    a.mov(qword_ptr(PAGE), rax)?;
    a.mov(qword_ptr(PAGE + 8), rax)?;
    a.mov(eax, PML4 as u32)?;
    a.mov(cr3, rax)?;
    a.mov(qword_ptr(RECORD + 0x3e0), (GDT_LIMIT | GDT << 16) as i32)?;
    a.mov(word_ptr(RECORD + 0x3e8), 0)?;
    a.lgdt(fword_ptr(RECORD + 0x3e0))?;
    a.mov(qword_ptr(RECORD + 0x3e0), (0xfff | IDT << 16) as i32)?;
    a.lidt(fword_ptr(RECORD + 0x3e0))?;
    a.mov(rsp, STACK)?;
    a.mov(eax, i32::from(KERNEL_DATA))?;
    for segment in [ss, ds, es, fs, gs] {
        a.mov(segment, eax)?;
    }
    a.push(i32::from(KERNEL_CODE))?;
    let mut there = a.create_label();
    a.lea(rax, qword_ptr(there))?;
    a.push(rax)?;
    a.db(&[0x48, 0xcb])?; // retfq
    a.set_label(&mut there)?;
    a.xor(eax, eax)?;
    a.lldt(ax)?;
    a.mov(eax, i32::from(TASK))?;
    a.ltr(ax)?;
    let msrs = [
        (0xc000_0080u32, 0xd01u64),
        (0xc000_0081, 0x18 << 48 | 8 << 32),
        (0xc000_0082, CASES - 0x100),
        (0xc000_0084, 0x4700),
        (0xc000_0102, 0x1234_5000),
        (0x174, 8),
        (0x175, STACK),
        (0x176, CASES - 0x100),
    ];
    for (msr, value) in msrs {
        a.mov(ecx, msr)?;
        a.mov(eax, value as u32)?;
        a.mov(edx, (value >> 32) as u32)?;
        a.wrmsr()?;
    }
    a.mov(eax, 0xffff_0ff0u32)?;
    a.mov(dr6, rax)?;
    a.xor(eax, eax)?;
    a.mov(cr2, rax)?;
    a.push(2)?;
    a.popfq()
}

/// The ROM: the image, and what brings it to life from the reset vector.
pub fn rom(image: &Image) -> Result<Vec<u8>> {
    let mut rom = vec![0u8; ROM as usize];
    rom[..image.0.len()].copy_from_slice(&image.0);
    let base = 0x1_0000_0000 - ROM;
    let boot = 0xffff_0000u64;
    let start = assemble(16, 0, |a| {
        a.cli()?;
        a.mov(eax, cr0)?;
        a.or(al, 1)?;
        a.db(&[0x66, 0x2e, 0x0f, 0x01, 0x16, 0x00, 0x02])?; // lgdt cs:[200h]
        a.mov(cr0, eax)?;
        a.db(&[0x66, 0xea, 0x00, 0x01, 0xff, 0xff, 0x08, 0x00]) // jmp far 8:ffff0100
    })?;
    let protected = assemble(32, boot + 0x100, |a| {
        a.mov(eax, 0x10)?;
        a.mov(ds, eax)?;
        a.mov(es, eax)?;
        a.mov(ss, eax)?;
        a.cld()?;
        a.mov(esi, base as u32)?;
        a.xor(edi, edi)?;
        a.mov(ecx, (IMAGE / 4) as u32)?;
        a.rep().movsd()?;
        a.mov(eax, PML4 as u32)?;
        a.mov(cr3, eax)?;
        a.mov(eax, 0x620)?;
        a.mov(cr4, eax)?;
        a.mov(ecx, 0xc000_0080u32)?;
        a.mov(eax, 0xd01)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.mov(eax, 0x8001_0033u32)?;
        a.mov(cr0, eax)?;
        a.db(&[0x0f, 0x01, 0x15])?; // lgdt [..]
        a.dd(&[RECORD as u32])?;
        a.mov(eax, 0x1ff)?;
        a.db(&[0xea])?;
        a.dd(&[DRIVER as u32])?;
        a.dw(&[KERNEL_CODE])
    })?;
    let low = (ROM - 0x1_0000) as usize;
    rom[low..low + start.len()].copy_from_slice(&start);
    rom[low + 0x100..low + 0x100 + protected.len()].copy_from_slice(&protected);
    let register = (0x17u64 | (boot + 0x210) << 16).to_le_bytes();
    rom[low + 0x200..low + 0x208].copy_from_slice(&register);
    for (n, entry) in [0, flat(0xb, 0, 0xc), flat(3, 0, 0xc)].into_iter().enumerate() {
        rom[low + 0x210 + 8 * n..low + 0x218 + 8 * n].copy_from_slice(&entry.to_le_bytes());
    }
    // The image's own GDT register, and the reset vector.
    let gdtr = (GDT_LIMIT | GDT << 16).to_le_bytes();
    rom[RECORD as usize..RECORD as usize + 8].copy_from_slice(&gdtr);
    let reset = (ROM - 16) as usize;
    rom[reset..reset + 5].copy_from_slice(&[0xea, 0x00, 0x00, 0x00, 0xf0]);
    Ok(rom)
}

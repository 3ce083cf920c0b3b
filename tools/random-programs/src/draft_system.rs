//! Pieces of the privileged architecture: CSRs, traps, fences, page tables, protection, interrupts, devices.

use crate::assembler::{Assembler, number, word};
use crate::draft::{Draft, Profile};
use crate::layout::{BASE, CLINT, DATA, UART};
use crate::memory::random_page;
use crate::pte::{A, D, U};
use crate::random::{Random, Values};
use crate::spaces::{Context, data_entry};
use isa_riscv::csr_fields::{envcfg, irq, mstatus};

/// CSRs whose whole contents are free, with bits that may be written.
const CSRS: [(&str, u64); 22] = [
    ("fflags", 0x1f),
    ("frm", 7),
    ("fcsr", 0xff),
    ("sepc", !3),
    ("mepc", !3),
    ("scause", !0),
    ("mcause", !0),
    ("scounteren", 5),
    ("mcounteren", 5),
    ("mie", irq::SSI | irq::STI),
    ("sie", irq::SSI | irq::STI),
    ("mideleg", irq::SSI | irq::STI),
    ("menvcfg", envcfg::CBCFE | envcfg::CBZE | envcfg::FIOM),
    ("senvcfg", envcfg::CBCFE | envcfg::CBZE | envcfg::FIOM),
    ("satp", 0),
    ("misa", 0),
    ("mhartid", 0),
    ("stvec", 0),
    ("sscratch", 0),
    ("mtvec", 0),
    ("sstatus", 0),
    ("pmpaddr0", 0),
];

/// What only the engines of one machine do alike.
const OWN: [(&str, u64); 13] = [
    ("mtval", !0),
    ("stval", !0),
    ("mcycle", !0),
    ("minstret", !0),
    ("mcountinhibit", 5),
    ("cycle", 0),
    ("time", 0),
    ("instret", 0),
    ("mip", 0),
    ("sip", 0),
    ("hpmcounter3", 0),
    ("mhpmevent3", !0),
    ("mscratch", 0),
];

/// What CSRs start with.
pub fn csrs(random: &mut Random, profile: Profile) -> Vec<(&'static str, u64)> {
    let delegable = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 13 | 1 << 15 | 1 << 8;
    let mut medeleg = match random.below(3) {
        0 => 0,
        1 => delegable,
        _ => random.bits() & delegable,
    };
    // Then a fence may trap: only the handler in M-mode makes up for it.
    // Elsewhere, what makes it dirty is not always the same: there it is off, or dirty already.
    let mut status = random.pick(&[0, mstatus::FS, if profile.free() { 1 << 13 } else { mstatus::FS }]);
    if random.one_in(4) {
        status |= random.bits() & (mstatus::TVM | mstatus::TW);
    } else if random.one_in(2) {
        medeleg |= 1 << 2;
    }
    status |= random.bits() & (mstatus::SUM | mstatus::MXR | mstatus::SIE);
    let blocks = envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE;
    let mut menvcfg = if random.one_in(4) { random.bits() & blocks & !(1 << 5) } else { blocks };
    if !random.one_in(4) {
        menvcfg |= envcfg::ADUE;
    }
    menvcfg |= envcfg::PBMTE;
    let mut mie = irq::SSI;
    if profile.free() {
        menvcfg |= envcfg::STCE;
        status |= mstatus::MIE;
        mie |= irq::STI | irq::MTI | irq::MSI | irq::SEI;
    } else {
        status |= random.bits() & mstatus::MIE;
        mie |= irq::MSI;
    }
    vec![
        ("medeleg", medeleg),
        ("mideleg", random.bits() & (irq::SSI | irq::STI)),
        ("mie", mie),
        ("menvcfg", menvcfg),
        ("senvcfg", blocks),
        // TM: the handler in S-mode reads the time.
        ("mcounteren", 2 | random.bits() & 7),
        ("scounteren", random.bits() & 7),
        ("fcsr", random.bits() & 0x9f),
        ("stimecmp", if profile.free() { 2000 + random.below(4000) } else { u64::MAX }),
        ("mstatus", status),
    ]
}

impl Draft<'_> {
    fn temporary(&mut self) -> i64 {
        self.random.pick(&self.program.registers.address)
    }

    /// An access to a CSR, seldom to one that is none.
    pub(crate) fn csr(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let (name, bits) = match self.program.profile.free() && self.random.one_in(2) {
            true => self.random.pick(&OWN),
            false => self.random.pick(&CSRS),
        };
        let rd = if self.random.one_in(6) { 0 } else { self.program.registers.free(self.random) };
        if self.random.one_in(16) {
            let none = self.random.pick(&[0x5c0, 0x800, 0x015, 0xfff, 0x7c0]);
            code.op("csrrs", &[("rd", rd), ("csr", none)]);
            return code.finish();
        }
        let csr = number(name);
        if bits == 0 || self.random.one_in(3) {
            code.op("csrrs", &[("rd", rd), ("csr", csr)]);
            return code.finish();
        }
        // `csrrw` writes all bits.
        let whole = matches!(
            name,
            "fflags"
                | "frm"
                | "fcsr"
                | "sepc"
                | "mepc"
                | "scause"
                | "mcause"
                | "mtval"
                | "stval"
                | "mcycle"
                | "minstret"
        );
        let set = self.random.pick(&["csrrs", "csrrc", "csrrw"]);
        let set = if whole { set } else { self.random.pick(&["csrrs", "csrrc"]) };
        let value = self.random.integer() & bits;
        if value < 32 && self.random.one_in(2) {
            let immediate = match set {
                "csrrs" => "csrrsi",
                "csrrc" => "csrrci",
                _ => "csrrwi",
            };
            code.op(immediate, &[("rd", rd), ("csr", csr), ("zimm", value as i64)]);
        } else {
            let t = self.temporary();
            code.li(t, value);
            code.op(set, &[("rd", rd), ("csr", csr), ("rs1", t)]);
        }
        code.finish()
    }

    /// Turns bits of `mstatus` or `sstatus` on or off.
    pub(crate) fn status(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let t = self.temporary();
        let all = [mstatus::SUM, mstatus::MXR, mstatus::SUM | mstatus::MXR, mstatus::FS, 1 << 13, 1 << 14];
        let more = [mstatus::SIE, mstatus::MIE, mstatus::SPIE, mstatus::SPP, mstatus::MPP];
        let mut bits = if self.random.one_in(4) { self.random.pick(&more) } else { self.random.pick(&all) };
        if self.random.one_in(6) {
            bits |= self.random.pick(&all);
        }
        if bits & mstatus::FS != 0 && !self.program.profile.free() {
            bits |= mstatus::FS;
        }
        let csr = self.random.pick(&["mstatus", "sstatus"]);
        if csr == "sstatus" {
            bits &= mstatus::S_WRITABLE;
        }
        code.li(t, bits);
        let name = self.random.pick(&["csrrs", "csrrc"]);
        let rd = if self.random.one_in(3) { self.program.registers.free(self.random) } else { 0 };
        code.op(name, &[("rd", rd), ("csr", number(csr)), ("rs1", t)]);
        code.finish()
    }

    /// An instruction that traps, always or in some modes.
    pub(crate) fn trap(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        match self.random.below(8) {
            0 | 1 => code.op("ecall", &[]),
            2 => code.op("ebreak", &[]),
            3 => code.op("c.ebreak", &[]),
            4 => code.raw(0),
            // Opcodes for extensions that are not there.
            5 => code.raw(self.random.pick(&[0x0b, 0x2b, 0x5b, 0x7b]) | (self.random.bits() as u32) << 7),
            6 if self.program.profile.free() => code.op("wfi", &[]),
            _ => {
                // Reserved encodings of the base opcodes.
                let reserved =
                    self.random.pick(&[0x0000_7003u32, 0x0000_4023, 0x0000_2063, 0xfe00_0033, 0x8000_1013]);
                code.raw(reserved | (self.random.below(32) as u32) << 15);
            }
        }
        code.finish()
    }

    /// A fence, which has nothing to do.
    pub(crate) fn fence(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let registers = &self.program.registers;
        let (a, b) = (registers.any(self.random), registers.any(self.random));
        match self.random.below(6) {
            0 => code.op("sfence.vma", &[]),
            1 => code.op("sfence.vma", &[("rs1", a), ("rs2", b)]),
            2 => code.op("fence.i", &[]),
            3 if self.program.profile.free() => code.op("sinval.vma", &[("rs1", a), ("rs2", b)]),
            _ => code.op("sfence.vma", &[("rs1", a)]),
        }
        code.finish()
    }

    /// Changes an entry of a page table, and the fence for it; or only reads it.
    pub(crate) fn table_edit(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let contexts: Vec<Context> =
            self.program.spaces.contexts.iter().filter(|c| c.pte != 0).copied().collect();
        if contexts.is_empty() {
            return self.computation();
        }
        let context = self.random.pick(&contexts);
        let page = random_page(self.random);
        let user = if context.mode == 0 { U } else { 0 };
        let target = random_page(self.random) / 4096;
        let entry = data_entry(self.random, self.program.slot, target, user);
        let [t0, t1, t2] = self.program.registers.address;
        let (busy, linear) = (self.program.registers.busy, self.program.registers.linear);
        let va = context.data + page + self.random.below(4096);
        code.opi("addi", busy, 0, 1);
        code.li(t0, context.pte + page / 4096 * 8);
        code.op("add", &[("rd", t0), ("rs1", t0), ("rs2", linear)]);
        let edit = self.random.below(6);
        match edit {
            0 => {
                let rd = self.program.registers.free(self.random);
                code.ld(rd, 0, t0);
                code.opi("addi", busy, 0, 0);
                return code.finish();
            }
            1 | 2 => {
                // A and D only, which the access below has to set again, or finds set.
                let marks = (A | D) as i64;
                let (name, bits) = self.random.pick(&[("amoand.d", !marks), ("amoor.d", marks)]);
                code.opi("addi", t1, 0, bits);
                code.op(name, &[("rd", t2), ("rs1", t0), ("rs2", t1)]);
            }
            _ => {
                code.li(t1, entry);
                code.sd(t1, 0, t0);
            }
        }
        code.li(t1, va);
        match self.random.below(8) {
            0 => code.op("sfence.vma", &[]),
            1 | 2 => {
                code.li(t2, context.satp >> 44 & 0xffff);
                code.op("sfence.vma", &[("rs1", t1), ("rs2", t2)]);
            }
            3 => {
                code.li(t2, context.satp >> 44 & 0xffff);
                code.op("sfence.vma", &[("rs2", t2)]);
            }
            4 if self.program.profile.free() => {
                code.op("sfence.w.inval", &[]);
                code.op("sinval.vma", &[("rs1", t1)]);
                code.op("sfence.inval.ir", &[]);
            }
            _ => code.op("sfence.vma", &[("rs1", t1)]),
        }
        code.opi("addi", busy, 0, 0);
        if matches!(edit, 1 | 2) {
            self.one_access(&mut code, t1, false);
        }
        code.finish()
    }

    /// An access of M-mode as another mode.
    pub(crate) fn as_another_mode(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let contexts = self.program.spaces.contexts.clone();
        let context: Context = self.random.pick(&contexts);
        let [t0, t1, _] = self.program.registers.address;
        code.li(t1, mstatus::MPP);
        code.op("csrrc", &[("csr", 0x300), ("rs1", t1)]);
        code.li(t1, mstatus::MPRV | self.random.pick(&[0, 1, 1]) << mstatus::MPP_SHIFT);
        code.li(t0, context.data + BASE + self.random.below(0x7000));
        code.op("csrrs", &[("csr", 0x300), ("rs1", t1)]);
        for _ in 0..1 + self.random.below(2) {
            self.one_access(&mut code, t0, false);
        }
        code.li(t1, mstatus::MPRV);
        code.op("csrrc", &[("csr", 0x300), ("rs1", t1)]);
        code.finish()
    }

    /// PMP: other permissions for some of the data.
    pub(crate) fn protection(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let t = self.temporary();
        let at = self.program.slot + DATA + random_page(self.random) + self.random.below(64) * 64;
        let ones = (1 << self.random.below(8)) - 1;
        let config = self.random.pick(&[0u64, 1, 3, 4, 5, 7]) | self.random.pick(&[2, 3, 3]) << 3;
        let config = if self.random.one_in(3) { 0 } else { config };
        code.opi("addi", self.program.registers.busy, 0, 1);
        code.li(t, at >> 2 & !(ones << 1 | 1) | ones);
        code.csrrw(0, "pmpaddr0", t);
        code.li(t, 0x1f << 8 | config);
        code.csrrw(0, "pmpcfg0", t);
        code.op("sfence.vma", &[]);
        code.opi("addi", self.program.registers.busy, 0, 0);
        code.finish()
    }

    /// Raises an interrupt.
    pub(crate) fn software_interrupt(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let [t0, t1, _] = self.program.registers.address;
        match self.random.below(4) {
            2 if self.program.profile.free() => {
                code.li(t0, irq::SEI);
                code.op("csrrs", &[("csr", number("mip")), ("rs1", t0)]);
            }
            // Elsewhere, it is not known at which instruction the CLINT's comes.
            3 if self.program.profile.free() => {
                code.op("csrrci", &[("rd", t1), ("csr", 0x300), ("zimm", 8)]);
                code.li(t0, CLINT);
                code.opi("addi", t1, 0, 1);
                code.raw(word("sw", &[("rs1", t0), ("rs2", t1)]));
                code.op("csrrsi", &[("csr", 0x300), ("zimm", 8)]);
            }
            _ => {
                let csr = self.random.pick(&["mip", "sip"]);
                code.op("csrrsi", &[("csr", number(csr)), ("zimm", 2)]);
            }
        }
        code.finish()
    }

    /// Accesses to devices: by M-mode, or where there is no translation.
    pub(crate) fn device(&mut self) -> Vec<u8> {
        let mut code = Assembler::new(0);
        let t0 = self.program.registers.address[0];
        let rd = self.random.pick(&self.program.registers.free);
        let any = self.program.registers.any(self.random);
        match self.random.below(6) {
            0 => {
                code.li(t0, CLINT + 0xbff8);
                code.ld(rd, 0, t0);
            }
            1 => {
                code.li(t0, CLINT);
                code.opi("lw", rd, t0, 0);
            }
            2 => {
                code.li(t0, CLINT);
                code.op("sw", &[("rs2", any), ("rs1", t0)]);
            }
            3 => {
                code.li(t0, UART);
                code.opi("lbu", rd, t0, self.random.below(8) as i64);
            }
            4 => {
                code.li(t0, UART);
                code.op("sb", &[("rs2", any), ("rs1", t0), ("imm_s", 7)]);
            }
            _ => {
                code.li(t0, UART);
                code.op("sb", &[("rs2", any), ("rs1", t0)]);
            }
        }
        code.finish()
    }
}

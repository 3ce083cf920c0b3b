//! The slots of a bare-metal case.

use crate::assembler::{row, word};
use crate::random::{Random, Values};
use crate::system_case::{Slot, Try, arena_at};
use crate::system_runtime::ALIAS;
use crate::system_start::{CONSTANT, Draft, M, MPRV, PMPCFG0, RESULTS, S, SATP, STVEC, TEMPORARY, U};
use crate::system_tables::{DATA_PAGE, JUMP_PAGE};
use isa_riscv::csr_table::{self, TABLE};
use isa_riscv::disasm::length;
use isa_riscv::random::random_insn;
use isa_riscv::{ROWS, decode16, decode32};

/// What makes M-mode's accesses those of another mode, and ends that.
fn as_another_mode() -> [u32; 2] {
    ["csrrs", "csrrc"].map(|name| word(name, &[("csr", 0x300), ("rs1", MPRV)]))
}

impl Draft<'_> {
    /// The slots.
    pub fn slots(&mut self) {
        for _ in 0..6 + self.random.below(10) {
            let before = self.case.slots.len();
            match self.random.below(16) {
                0..4 => self.csr(),
                4..9 => self.access(),
                9 | 10 => self.jump(),
                11 => self.mode_return(),
                12 => self.wait(),
                13 => self.fence(),
                _ => self.trap(),
            }
            debug_assert!(self.case.slots[before..].iter().all(|s| s.words.len() <= 8));
        }
    }

    fn push(&mut self, what: Try, words: Vec<u32>) {
        self.case.slots.push(Slot { what, words });
    }

    /// A register that holds `value` for good; some other constant if there is no more room.
    fn constant(&mut self, value: u64) -> i64 {
        let mut whole = (CONSTANT.start..self.constants).filter(|r| self.spoilt >> r & 1 == 0);
        if let Some(r) = whole.find(|&r| self.case.x[r as usize] == value) {
            return r;
        }
        if self.constants == CONSTANT.end {
            return CONSTANT.start + self.random.below((CONSTANT.end - CONSTANT.start) as u64) as i64;
        }
        self.case.x[self.constants as usize] = value;
        self.constants += 1;
        self.constants - 1
    }

    /// The bits of a CSR that mean something in it and that both sides treat alike. What QEMU keeps in
    /// others, though nothing is behind them, docs/fidelity.md lists.
    fn shared_bits(&self, number: u16) -> u64 {
        match number {
            0x302 => 0xb3ff,
            0x104 | 0x144 | 0x303 | 0x344 => 0x222,
            0x304 => 0xaaa,
            0x30a => 0xe000_0000_0000_00d1,
            0x10a => 0xd1,
            0x141 | 0x341 if self.compressed => !1,
            0x141 | 0x341 => !3,
            0x300 | 0x100 => !(3 << 32),
            0x306 | 0x106 | 0x320 => 0xffff_ffff,
            0x3b0..=0x3ef => (1 << 54) - 1,
            _ => u64::MAX,
        }
    }

    /// A value for a CSR.
    fn csr_value(&mut self, number: u16) -> u64 {
        let v = if self.random.one_in(3) { self.random.integer() } else { self.random.bits() };
        match number {
            // What is written must not come to pass while the comparison runs.
            0x14d => self.random.pick(&[0, u64::MAX, 1 << 60]),
            0x3a0..=0x3af => {
                // Seldom ranges: to QEMU, one that ends at 0 is all of memory.
                let kinds: &[u8] = if self.random.one_in(16) { &[0, 1, 2, 3] } else { &[0, 2, 3] };
                let byte = |random: &mut Random| random.pick(&[0u8, 1, 3, 4, 5, 7]) | random.pick(kinds) << 3;
                let mut bytes = [0; 8];
                bytes.fill_with(|| byte(self.random));
                u64::from_le_bytes(bytes)
            }
            0x180 => v & !(0xf << 60) | self.random.pick(&[0, 1, 7, 8, 9, 10, 11, 15]) << 60,
            // Not 0, which is a matter of its own as the end of a range.
            0x3b0..=0x3bf => v & self.shared_bits(number) | 4,
            _ => v & self.shared_bits(number),
        }
    }

    /// The number of a CSR, seldom one that is none.
    fn csr_number(&mut self) -> u16 {
        // Half of the accesses are to the registers that do something.
        if self.random.one_in(2) {
            let few = TABLE.iter().filter(|r| r.number < 0x323 || matches!(r.number, 0x340..=0x3bf));
            let few: Vec<u16> = few.map(|r| r.number).collect();
            return self.random.pick(&few);
        }
        if self.random.one_in(6) {
            return self.random.below(4096) as u16;
        }
        TABLE[self.random.below(TABLE.len() as u64) as usize].number
    }

    /// The first value of a PMP register, to be put back, if the case cannot do without it.
    fn put_back(&self, number: u16) -> Option<u64> {
        let name = csr_table::csr_name(number).filter(|_| self.delicate && self.modes & M != 0)?;
        matches!(number, 0x3a2 | 0x3b1..=0x3bf).then(|| self.case.first(name))
    }

    fn csr(&mut self) {
        if self.results + 2 > RESULTS.len() as i64 || self.constants + 2 > CONSTANT.end {
            return self.access();
        }
        let number = self.csr_number();
        let (rd, again) = (RESULTS[self.results as usize], RESULTS[self.results as usize + 1]);
        self.results += 2;
        let value = self.csr_value(number);
        let name = self.random.pick(&["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]);
        let rs = if self.random.one_in(8) { 0 } else { self.constant(value) };
        let small = (self.random.below(32) & self.shared_bits(number)) as i64;
        // Often no result, now and then one where the operand was.
        let rd = match self.random.below(12) {
            0 => 0,
            1 if rs != 0 && !self.addresses.contains(&rs) => {
                self.spoilt |= 1 << rs;
                rs
            }
            _ => rd,
        };
        let csr = i64::from(number);
        let write = |rd: i64, rs: i64| word("csrrw", &[("rd", rd), ("csr", csr), ("rs1", rs)]);
        let read = |rd: i64| word("csrrs", &[("rd", rd), ("csr", csr)]);
        let plain = match name {
            "csrrwi" | "csrrsi" | "csrrci" => word(name, &[("rd", rd), ("csr", csr), ("zimm", small)]),
            _ => word(name, &[("rd", rd), ("csr", csr), ("rs1", rs)]),
        };
        let words = match number {
            // Counters and events: only whether they can be accessed.
            0x323..=0x33f | 0xb00..=0xb9f | 0xc00..=0xc9f => vec![plain, word("addi", &[("rd", rd)])],
            0x305 => vec![write(rd, rs), write(again, 29)],
            0x105 => vec![write(rd, rs), write(again, STVEC)],
            0x302 => vec![write(rd, rs), write(again, 0)],
            0x180 if self.modes == M => vec![write(rd, rs), write(again, SATP)],
            0x180 | 0x3b0 => vec![read(rd)],
            0x3a0 => vec![write(rd, rs), write(again, PMPCFG0)],
            // W without R is reserved, and QEMU keeps it.
            0x3a1..=0x3af if name != "csrrw" || rs == 0 => vec![read(rd)],
            0x14d | 0x30a => self.timer(number, rd, rs).map_or(vec![read(rd)], |w| vec![w, read(again)]),
            0x3b1..=0x3bf if rs == 0 || name.ends_with('i') || name == "csrrc" => vec![read(rd)],
            _ => match self.put_back(number) {
                Some(first) => vec![plain, write(again, self.constant(first))],
                None => vec![plain, read(again)],
            },
        };
        self.tw &= !matches!(number, 0x300 | 0x100);
        self.push(Try::Csr(number), words);
    }

    /// A write of `stimecmp` or `menvcfg` that both sides understand: QEMU forgets what the other one
    /// says, so STCE stays as it is, and without it `stimecmp` is left alone.
    fn timer(&mut self, number: u16, rd: i64, rs: i64) -> Option<u32> {
        const STCE: u64 = 1 << 63;
        let stce = self.case.first("menvcfg") & STCE != 0;
        let value = self.case.x.get(rs as usize).copied().unwrap_or(0);
        let name = match number {
            0x14d if stce => "csrrw",
            0x14d => return None,
            _ => self.random.pick(&["csrrw", "csrrs", "csrrc"]),
        };
        let kept = number == 0x14d
            || match name {
                "csrrw" => stce == (value & STCE != 0),
                "csrrs" => stce || value & STCE == 0,
                _ => !stce || value & STCE == 0,
            };
        kept.then(|| word(name, &[("rd", rd), ("csr", i64::from(number)), ("rs1", rs)]))
    }

    /// An address to try.
    fn probe(&mut self, page_of_code: bool) -> u64 {
        let mut list: Vec<(u64, u64)> = match &self.tables {
            // Where nothing is translated, this would be an access to nowhere.
            Some(tables) => tables.probes.clone(),
            None => (DATA_PAGE..16).map(|p| (arena_at(self.index) + p * 4096, p)).collect(),
        };
        if self.modes & M != 0 && self.random.one_in(3) {
            list = (DATA_PAGE..16).map(|p| (arena_at(self.index) + p * 4096, p)).collect();
        }
        list.retain(|(_, page)| (*page >= JUMP_PAGE) == page_of_code);
        if list.is_empty() {
            return arena_at(self.index) + (if page_of_code { JUMP_PAGE } else { DATA_PAGE }) * 4096;
        }
        let (mut va, page) = self.random.pick(&list);
        va += match self.random.below(8) {
            0..3 => self.random.below(512) * 8,
            3 => self.random.below(4096),
            4 => 4096 - 1 - self.random.below(8),
            5 => 4096 - 8,
            _ => self.random.below(64) * 64,
        };
        if page_of_code {
            va &= !1;
            if page == JUMP_PAGE && self.random.one_in(3) {
                va |= 0xffe;
            }
        }
        if self.random.one_in(24) && self.tables.is_some() {
            va ^= 1 << (63 - self.random.below(7));
        }
        va
    }

    /// A register that holds `address`, or that of another access; `None` if there is none.
    fn address(&mut self, address: u64) -> Option<i64> {
        let register = self.constant(address);
        if self.case.x[register as usize] == address && self.spoilt >> register & 1 == 0 {
            self.addresses.push(register);
            return Some(register);
        }
        let place = self.random.below(self.addresses.len().max(1) as u64) as usize;
        self.addresses.get(place).copied()
    }

    fn access(&mut self) {
        #[rustfmt::skip]
        const NAMES: [&str; 33] = [
            "lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "sb", "sh", "sw", "sd", "ld", "sd", "lw", "sw",
            "flw", "fld", "flh", "fsw", "fsd", "fsh",
            "amoadd.w", "amoswap.d", "amomax.d", "amoor.w", "amominu.d", "lr.w", "lr.d",
            "cbo.zero", "cbo.clean", "cbo.flush", "cbo.inval", "prefetch.r",
        ];
        // QEMU looks at the address of a store-conditional only if there is a reservation.
        let name = if self.random.one_in(200) { "sc.w" } else { self.random.pick(&NAMES) };
        let mut address = self.probe(false);
        if name.starts_with("cbo.") && self.modes == M && !self.random.one_in(16) {
            // Where M-mode's access finds nothing, QEMU does not mind.
            address = arena_at(self.index) + DATA_PAGE * 4096 + self.random.below(256) * 64;
        }
        if name.starts_with("cbo.") && !self.random.one_in(16) {
            // QEMU's fault address is that of the block.
            address &= !63;
        }
        if name.starts_with("amo") && !self.random.one_in(16) {
            address &= !7;
        }
        let Some(base) = self.address(address) else { return self.trap() };
        let rd = self.result();
        let source = CONSTANT.start + self.random.below(9) as i64;
        let field = |name: &'static str| match name {
            "rs1" => (name, base),
            "rd" => (name, rd),
            "rs2" => (name, source),
            _ => (name, 0),
        };
        let fields: Vec<_> = row(name).fields.iter().map(|f| field(f.name)).collect();
        let access = word(name, &fields);
        // In M-mode, half of the accesses are made as if in another mode.
        if self.modes == M && self.random.one_in(2) {
            let [on, off] = as_another_mode();
            return self.push(Try::Access, vec![on, access, off]);
        }
        let mut words = vec![access];
        if let Some(conditional) = match name {
            "lr.w" => Some("sc.w"),
            "lr.d" => Some("sc.d"),
            _ => None,
        } {
            words.push(word(conditional, &[("rd", rd), ("rs2", source), ("rs1", base)]));
        }
        self.push(Try::Access, words);
    }

    /// A register for a result that may be overwritten.
    fn result(&mut self) -> i64 {
        if self.results < RESULTS.len() as i64 {
            self.results += 1;
        }
        RESULTS[self.results as usize - 1]
    }

    fn jump(&mut self) {
        let target = self.probe(true);
        let base = self.constant(target);
        // A constant of another slot is no place to jump to, unless it is one.
        if self.case.x[base as usize] != target || self.spoilt >> base & 1 != 0 {
            return self.trap();
        }
        self.push(Try::Jump, vec![word("jalr", &[("rd", 1), ("rs1", base), ("imm_i", 0)])]);
    }

    fn mode_return(&mut self) {
        let (csr, name) = if self.random.one_in(2) { (0x341, "mret") } else { (0x141, "sret") };
        let alias = if self.tables.is_some() && self.random.one_in(2) { ALIAS } else { 0 };
        let distance = self.constant(16 + alias);
        if self.case.x[distance as usize] != 16 + alias || self.spoilt >> distance & 1 != 0 {
            return self.trap();
        }
        let words = vec![
            word("auipc", &[("rd", TEMPORARY)]),
            word("add", &[("rd", TEMPORARY), ("rs1", TEMPORARY), ("rs2", distance)]),
            word("csrrw", &[("rd", 0), ("csr", csr), ("rs1", TEMPORARY)]),
            word(name, &[]),
        ];
        self.modes |= U | S;
        self.push(Try::Return, words);
    }

    fn wait(&mut self) {
        let wfi = word("wfi", &[]);
        if self.modes == M {
            // Were the interrupt taken, the handler would disable it, and nothing would end the wait.
            let off = word("csrrci", &[("csr", 0x300), ("zimm", 8)]);
            let set = |csr: i64| word("csrrsi", &[("csr", csr), ("zimm", 2)]);
            self.push(Try::Wait, vec![off, set(0x304), set(0x344), wfi]);
        } else if self.modes == U || self.modes & M == 0 && self.tw {
            self.push(Try::Wait, vec![wfi]);
        } else {
            self.trap();
        }
    }

    fn fence(&mut self) {
        if self.modes == M && self.random.one_in(2) && self.change_leaf() {
            return;
        }
        let name = self.random.pick(&["sfence.vma", "sinval.vma"]);
        let mut register = || match self.random.below(2) {
            0 => 0,
            _ => CONSTANT.start + self.random.below(9) as i64,
        };
        let (a, b) = (register(), register());
        self.push(Try::Fence, vec![word(name, &[("rs1", a), ("rs2", b)])]);
    }

    /// A change of a page's leaf, a fence, an access to the page; false if the case has no room for it.
    fn change_leaf(&mut self) -> bool {
        let Some(tables) = self.tables.as_ref().filter(|t| !t.leaves.is_empty()) else { return false };
        if self.constants + 3 > CONSTANT.end {
            return false;
        }
        let (va, at, pte) = self.random.pick(&tables.leaves.clone());
        let new = pte ^ 1 << self.random.below(8);
        let (pointer, value, probe) = (self.constant(at), self.constant(new), self.constant(va));
        let named = if self.random.one_in(2) { probe } else { 0 };
        let store = word("sd", &[("rs2", value), ("rs1", pointer)]);
        self.push(Try::Fence, vec![store, word("sfence.vma", &[("rs1", named)])]);
        let rd = self.result();
        let [on, off] = as_another_mode();
        self.push(Try::Access, vec![on, word("ld", &[("rd", rd), ("rs1", probe)]), off]);
        true
    }

    fn trap(&mut self) {
        let word = match self.random.below(12) {
            0 | 1 => word("ecall", &[]),
            2 => word("ebreak", &[]),
            3 => word("c.ebreak", &[]),
            // QEMU lets U-mode do these.
            4 if self.modes & U == 0 || self.random.one_in(32) => word("sfence.w.inval", &[]),
            5 if self.modes & U == 0 || self.random.one_in(32) => word("sfence.inval.ir", &[]),
            // In M-mode it would go to wherever mepc points; below, QEMU's mtval is stale.
            6 if self.modes & M == 0 && self.random.one_in(8) => word("mret", &[]),
            7 if self.modes == U => word("sret", &[]),
            8 => word("fadd.d", &[("rm", 7)]),
            9 => word("fence.i", &[]),
            _ => self.illegal(),
        };
        self.push(Try::Trap, vec![word]);
    }

    /// A word that is no instruction.
    fn illegal(&mut self) -> u32 {
        loop {
            let row = &ROWS[self.random.below(ROWS.len() as u64) as usize];
            let word = match self.random.below(3) {
                0 => self.random.bits() as u32 | 3,
                1 => u32::from(self.random.bits() as u16),
                _ => {
                    random_insn(row, &mut || self.random.bits())
                        ^ 1 << self.random.below(u64::from(row.length))
                }
            };
            let decodes = if length(word) == 2 { decode16(word as u16) } else { decode32(word) };
            if decodes.is_none() && word & 0x1f != 0x1f {
                return word;
            }
        }
    }
}

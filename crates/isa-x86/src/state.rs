//! The state of one logical processor, in the manual's terms: what engines exchange.

use crate::cpuid::{self, Identity};
use crate::segment::{Segment, TableRegister, seg};
use isa_core::LazyFlags;

/// Bits of RFLAGS beyond the status flags (SDM volume 1, "EFLAGS Register").
pub mod rflags {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const CF: u64 = 1 << 0;
    pub const FIXED: u64 = 1 << 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const VIF: u64 = 1 << 19;
    pub const VIP: u64 = 1 << 20;
    pub const ID: u64 = 1 << 21;
    /// The six status flags.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}

/// Bits of CR0 (SDM volume 3, "Control Registers").
pub mod cr0 {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const PE: u64 = 1 << 0;
    pub const MP: u64 = 1 << 1;
    pub const EM: u64 = 1 << 2;
    pub const TS: u64 = 1 << 3;
    pub const ET: u64 = 1 << 4;
    pub const NE: u64 = 1 << 5;
    pub const WP: u64 = 1 << 16;
    pub const AM: u64 = 1 << 18;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
}

/// Bits of CR4.
pub mod cr4 {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const VME: u64 = 1 << 0;
    pub const PVI: u64 = 1 << 1;
    pub const TSD: u64 = 1 << 2;
    pub const DE: u64 = 1 << 3;
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const PCE: u64 = 1 << 8;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const UMIP: u64 = 1 << 11;
    pub const LA57: u64 = 1 << 12;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const PCIDE: u64 = 1 << 17;
    pub const OSXSAVE: u64 = 1 << 18;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
}

/// Bits of DR6 (SDM volume 3, "Debug Status Register (DR6)").
pub mod dr6 {
    /// A debug register was about to be accessed (general detect).
    pub const BD: u64 = 1 << 13;
    /// A single step.
    pub const BS: u64 = 1 << 14;
    /// Always 1.
    pub const ONES: u64 = 0xffff_0ff0;
    /// Can be written.
    pub const WRITABLE: u64 = 0xe00f;
}

/// Bits of DR7 (SDM volume 3, "Debug Control Register (DR7)").
pub mod dr7 {
    /// Accesses of debug registers trap (general detect).
    pub const GD: u64 = 1 << 13;
    /// Always 1.
    pub const ONES: u64 = 0x400;
    /// Can be written.
    pub const WRITABLE: u64 = 0xffff_23ff;
}

/// Bits of IA32_EFER.
pub mod efer {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const SCE: u64 = 1 << 0;
    pub const LME: u64 = 1 << 8;
    pub const LMA: u64 = 1 << 10;
    pub const NXE: u64 = 1 << 11;
}

/// Model-specific registers that are plain state. IA32_APIC_BASE and IA32_TSC_DEADLINE belong to the local APIC; the
/// FS and GS bases are in the segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msrs {
    /// IA32_EFER
    pub efer: u64,
    /// IA32_STAR
    pub star: u64,
    /// IA32_LSTAR
    pub lstar: u64,
    /// IA32_CSTAR
    pub cstar: u64,
    /// IA32_FMASK
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP
    pub sysenter_eip: u64,
    /// IA32_PAT
    pub pat: u64,
    /// IA32_TSC_AUX
    pub tsc_aux: u64,
    /// What the time-stamp counter shows beyond the machine's own count, wrapping.
    pub tsc_offset: u64,
    /// IA32_MISC_ENABLE
    pub misc_enable: u64,
    /// IA32_MTRR_DEF_TYPE
    pub mtrr_def_type: u64,
    /// IA32_MTRR_PHYSBASEn and IA32_MTRR_PHYSMASKn, alternating.
    pub mtrr_variable: [u64; 16],
    /// IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 to FIX4K_F8000.
    pub mtrr_fixed: [u64; 11],
}

/// x87 and SSE state, as FXSAVE has it (SDM volume 1, "FXSAVE Area").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fpu {
    /// x87 control word.
    pub control: u16,
    /// x87 status word.
    pub status: u16,
    /// One bit a register: 1 for in use (FXSAVE's abridged form).
    pub tags: u8,
    /// Opcode of the last x87 instruction.
    pub opcode: u16,
    /// Its address.
    pub instruction: u64,
    /// Its operand's address.
    pub data: u64,
    /// ST0 to ST7 (by place in the stack), 80 bits each.
    pub st: [u128; 8],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// MXCSR
    pub mxcsr: u32,
}

impl Default for Fpu {
    /// As after reset (SDM volume 3, "Processor State After Reset").
    fn default() -> Fpu {
        Fpu {
            control: 0x40,
            status: 0,
            tags: 0,
            opcode: 0,
            instruction: 0,
            data: 0,
            st: [0; 8],
            xmm: [0; 16],
            mxcsr: 0x1f80,
        }
    }
}

/// An event whose delivery has begun and was cut off: it is delivered before the next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception.
    Exception {
        /// Its number.
        vector: u8,
        /// Its error code, if it has one.
        error: Option<u32>,
    },
    /// An external interrupt, which its controller has handed out.
    Interrupt {
        /// Its vector.
        vector: u8,
    },
    /// A software interrupt (`int n`, `int3`, `into`).
    Software {
        /// Its vector.
        vector: u8,
    },
    /// A non-maskable interrupt.
    Nmi,
}

/// What the processor is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Running,
    /// In `hlt`, waiting for an interrupt.
    Halted,
    /// After INIT, waiting for a start-up IPI.
    WaitForSipi,
    /// Shut down by a triple fault.
    Shutdown,
}

/// The size of code and addresses: what decoding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 16-bit code: real-address mode, or a 16-bit code segment.
    Bits16,
    /// 32-bit code: protected or compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// All architectural state of one logical processor but that of its local APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15: in the order of their encodings.
    pub gpr: [u64; 16],
    /// Address of the next instruction, as an offset in CS.
    pub rip: u64,
    /// The status flags of RFLAGS, perhaps not computed yet.
    pub status: LazyFlags,
    /// RFLAGS without the status flags, which are 0 here. See [`State::rflags`].
    pub system_flags: u64,
    /// ES, CS, SS, DS, FS, GS: in the order of their encodings.
    pub segments: [Segment; 6],
    /// LDTR
    pub ldtr: Segment,
    /// TR
    pub tr: Segment,
    /// GDTR
    pub gdtr: TableRegister,
    /// IDTR
    pub idtr: TableRegister,
    /// CR0
    pub cr0: u64,
    /// CR2
    pub cr2: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// XCR0
    pub xcr0: u64,
    /// DR0 to DR3
    pub dr: [u64; 4],
    /// DR6
    pub dr6: u64,
    /// DR7
    pub dr7: u64,
    /// Model-specific registers.
    pub msrs: Msrs,
    /// x87 and SSE state.
    pub fpu: Fpu,
    /// Interrupts are held off for the instruction at `rip`: after `sti`, or `mov ss` and `pop ss`.
    pub shadow: Shadow,
    /// NMIs are held off until `iret`.
    pub nmi_blocked: bool,
    /// An event to be delivered first.
    pub event: Option<Event>,
    /// What the processor is doing.
    pub activity: Activity,
    /// Which processor it is.
    pub identity: Identity,
}

/// What holds off interrupts for one instruction (SDM volume 3, "Masking Exceptions and Interrupts When Switching
/// Stacks").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shadow {
    /// Nothing.
    #[default]
    None,
    /// `sti` that has set IF.
    Sti,
    /// A load of SS, which holds off debug exceptions and NMIs too.
    MovSs,
}

impl State {
    /// As after reset (SDM volume 3, "Processor State After Reset"): real-address mode at 0xffff_fff0.
    pub fn reset() -> State {
        let code = Segment { base: 0xffff_0000, kind: 0xb, ..Segment::real(0xf000) };
        let data = Segment::real(0);
        let mut segments = [data; 6];
        if let Some(cs) = segments.get_mut(usize::from(seg::CS)) {
            *cs = code;
        }
        let system = |kind| Segment { kind, s: false, ..Segment::real(0) };
        let table = TableRegister { base: 0, limit: 0xffff };
        let mut gpr = [0; 16];
        if let Some(rdx) = gpr.get_mut(2) {
            *rdx = cpuid::SIGNATURE.into();
        }
        State {
            gpr,
            rip: 0xfff0,
            status: LazyFlags::from_bits(0),
            system_flags: rflags::FIXED,
            segments,
            ldtr: system(2),
            tr: system(0xb),
            gdtr: table,
            idtr: table,
            cr0: cr0::CD | cr0::NW | cr0::ET,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 1,
            dr: [0; 4],
            dr6: dr6::ONES,
            dr7: dr7::ONES,
            msrs: Msrs {
                efer: 0,
                star: 0,
                lstar: 0,
                cstar: 0,
                fmask: 0,
                kernel_gs_base: 0,
                sysenter_cs: 0,
                sysenter_esp: 0,
                sysenter_eip: 0,
                pat: 0x0007_0406_0007_0406,
                tsc_aux: 0,
                tsc_offset: 0,
                misc_enable: 1,
                mtrr_def_type: 0,
                mtrr_variable: [0; 16],
                mtrr_fixed: [0; 11],
            },
            fpu: Fpu::default(),
            shadow: Shadow::None,
            nmi_blocked: false,
            event: None,
            activity: Activity::Running,
            identity: Identity::default(),
        }
    }

    /// INIT: as after reset, but for the x87 and SSE state, the caches' bits of CR0 and most MSRs (SDM volume 3, table
    /// "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT").
    pub fn init(&mut self) {
        let fresh = State::reset();
        let caches = self.cr0 & (cr0::CD | cr0::NW);
        *self = State {
            cr0: cr0::ET | caches,
            msrs: Msrs { efer: 0, ..self.msrs.clone() },
            fpu: self.fpu.clone(),
            identity: self.identity,
            ..fresh
        };
    }

    /// A start-up IPI: real-address mode at `vector << 12` (SDM volume 3, "MP Initialization Protocol").
    pub fn start_up(&mut self, vector: u8) {
        *self.segment_mut(seg::CS) = self.real_code(u16::from(vector) << 8);
        self.rip = 0;
        self.activity = Activity::Running;
    }

    /// RFLAGS with all its flags.
    pub fn rflags(&self) -> u64 {
        self.system_flags & !rflags::STATUS | self.status.bits()
    }

    /// Sets all of RFLAGS. Bit 1 stays 1.
    pub fn set_rflags(&mut self, bits: u64) {
        self.status = LazyFlags::from_bits(bits & rflags::STATUS);
        self.system_flags = bits & !rflags::STATUS | rflags::FIXED;
    }

    /// The segment register with this number (0 to 5); others give GS.
    pub fn segment(&self, n: u8) -> &Segment {
        let [es, cs, ss, ds, fs, gs] = &self.segments;
        match n {
            seg::ES => es,
            seg::CS => cs,
            seg::SS => ss,
            seg::DS => ds,
            seg::FS => fs,
            _ => gs,
        }
    }

    /// The same, to be changed.
    pub fn segment_mut(&mut self, n: u8) -> &mut Segment {
        let [es, cs, ss, ds, fs, gs] = &mut self.segments;
        match n {
            seg::ES => es,
            seg::CS => cs,
            seg::SS => ss,
            seg::DS => ds,
            seg::FS => fs,
            _ => gs,
        }
    }

    /// Sets or clears ZF; the other status flags stay.
    pub fn set_zero(&mut self, zero: bool) {
        let others = self.status.bits() & !rflags::ZF;
        self.status = LazyFlags::from_bits(others | if zero { rflags::ZF } else { 0 });
    }

    /// I/O privilege level.
    pub fn iopl(&self) -> u8 {
        ((self.system_flags & rflags::IOPL) >> 12) as u8
    }

    /// Whether code may do what IOPL guards: ports, and changing IF. In real-address mode it may.
    pub fn within_iopl(&self) -> bool {
        !self.protected() || self.cpl() <= self.iopl()
    }

    /// Current privilege level: the DPL of SS, which is kept equal to it (SDM volume 3, "Guest Segment Registers").
    pub fn cpl(&self) -> u8 {
        self.segment(seg::SS).dpl
    }

    /// Protected mode (with or without long mode).
    pub fn protected(&self) -> bool {
        self.cr0 & cr0::PE != 0
    }

    /// Long mode is active: 64-bit or compatibility mode.
    pub fn long_mode(&self) -> bool {
        self.msrs.efer & efer::LMA != 0
    }

    /// Whether an external interrupt may be delivered before the next instruction (SDM volume 3, "Enabling and Disabling
    /// Interrupts").
    pub fn takes_interrupts(&self) -> bool {
        self.system_flags & rflags::IF != 0 && self.shadow == Shadow::None
    }

    /// The same of an NMI (SDM volume 3, "Handling Multiple NMIs", "Masking Exceptions and Interrupts When Switching
    /// Stacks").
    pub fn takes_nmis(&self) -> bool {
        !self.nmi_blocked && self.shadow != Shadow::MovSs
    }

    /// The size of code.
    #[inline(always)]
    pub fn mode(&self) -> Mode {
        self.mode_with(self.segment(seg::CS))
    }

    /// The size of code with `cs` as code segment.
    #[inline(always)]
    pub(crate) fn mode_with(&self, cs: &Segment) -> Mode {
        match (self.long_mode() && cs.long, cs.big) {
            (true, _) => Mode::Bits64,
            (false, true) => Mode::Bits32,
            (false, false) => Mode::Bits16,
        }
    }

    /// CS as real-address mode loads it: selector and base, the rest as it was.
    pub(crate) fn real_code(&self, selector: u16) -> Segment {
        Segment { selector, base: u64::from(selector) << 4, ..*self.segment(seg::CS) }
    }
}

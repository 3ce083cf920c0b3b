//! The saved state of a processor: plain values, numbered by version; how they are encoded is for others.

use crate::cpuid::Identity;
use crate::{Activity, Event, Fpu, Msrs, Segment, Shadow, State, TableRegister};

/// The version of [`SavedState`] that this crate writes.
pub const VERSION: u32 = 1;

/// The most processors that a machine may have had: those that a local APIC's identifier of 8 bits tells apart, less that
/// which means all (SDM volume 3, "Local APIC ID").
const MOST_PROCESSORS: u32 = 255;

/// All architectural state of one processor but that of its local APIC. Zero is the reset value of whatever a later
/// version adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is the register of its name")]
pub struct SavedState {
    pub version: u32,
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS, LDTR, TR.
    pub segments: [SavedSegment; 8],
    pub gdtr: SavedTable,
    pub idtr: SavedTable,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub xcr0: u64,
    pub dr: [u64; 4],
    pub dr6: u64,
    pub dr7: u64,
    pub efer: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    pub tsc_aux: u64,
    pub tsc_offset: u64,
    pub misc_enable: u64,
    pub mtrr_def_type: u64,
    pub mtrr_variable: [u64; 16],
    pub mtrr_fixed: [u64; 11],
    /// As FXSAVE has it.
    pub fpu_control: u16,
    pub fpu_status: u16,
    pub fpu_tags: u8,
    pub fpu_opcode: u16,
    pub fpu_instruction: u64,
    pub fpu_data: u64,
    pub st: [u128; 8],
    pub xmm: [u128; 16],
    pub mxcsr: u32,
    /// 0 none, 1 STI, 2 MOV SS.
    pub shadow: u8,
    pub nmi_blocked: bool,
    /// Bits 7:0 the vector, 10:8 what it is (0 none, 1 exception, 2 exception with error code, 3 interrupt, 4 software
    /// interrupt, 5 NMI), 23:16 reserved (a length once), 63:32 the error code.
    pub event: u64,
    /// 0 running, 1 halted, 2 waiting for SIPI, 3 shut down.
    pub activity: u8,
    pub apic_id: u32,
    pub processors: u32,
    pub tsc_hz: u64,
    pub crystal_hz: u64,
    pub la57: bool,
}

/// A saved segment register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavedSegment {
    /// The visible part.
    pub selector: u16,
    /// Linear address of the first byte.
    pub base: u64,
    /// In bytes.
    pub limit: u32,
    /// Bits 15:8 and 23:20 of a descriptor's upper doubleword, in bits 7:0 and 15:12; bit 16: unusable (as in a VMCS).
    pub rights: u32,
}

/// GDTR or IDTR, saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the manual's words")]
pub struct SavedTable {
    pub base: u64,
    pub limit: u16,
}

/// Why a saved state cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A version that this program does not know.
    Version(u32),
    /// A field with a value that no processor has.
    Field(&'static str),
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LoadError::Version(version) => write!(
                f,
                "processor state of version {version}; this program reads {VERSION}: use the program \
                 that saved it, or a newer one"
            ),
            LoadError::Field(name) => {
                write!(f, "processor state has a value of {name} that cannot be: the file is damaged")
            }
        }
    }
}

impl core::error::Error for LoadError {}

fn save_segment(segment: &Segment) -> SavedSegment {
    let Segment { selector, base, limit, kind, dpl, s, present, available, long, big, granular, unusable } =
        *segment;
    let bit = |on, n: u32| u32::from(on) << n;
    let rights = u32::from(kind)
        | bit(s, 4)
        | u32::from(dpl) << 5
        | bit(present, 7)
        | bit(available, 12)
        | bit(long, 13)
        | bit(big, 14)
        | bit(granular, 15)
        | bit(unusable, 16);
    SavedSegment { selector, base, limit, rights }
}

fn load_segment(saved: &SavedSegment) -> Segment {
    let SavedSegment { selector, base, limit, rights } = *saved;
    let bit = |n: u32| rights >> n & 1 != 0;
    Segment {
        selector,
        base,
        limit,
        kind: (rights & 0xf) as u8,
        dpl: (rights >> 5 & 3) as u8,
        s: bit(4),
        present: bit(7),
        available: bit(12),
        long: bit(13),
        big: bit(14),
        granular: bit(15),
        unusable: bit(16),
    }
}

fn save_event(event: Option<Event>) -> u64 {
    match event {
        None => 0,
        Some(Event::Exception { vector, error: None }) => u64::from(vector) | 1 << 8,
        Some(Event::Exception { vector, error: Some(error) }) => {
            u64::from(vector) | 2 << 8 | u64::from(error) << 32
        }
        Some(Event::Interrupt { vector }) => u64::from(vector) | 3 << 8,
        Some(Event::Software { vector }) => u64::from(vector) | 4 << 8,
        Some(Event::Nmi) => 2 | 5 << 8,
    }
}

fn load_event(saved: u64) -> Result<Option<Event>, LoadError> {
    let (vector, error) = (saved as u8, (saved >> 32) as u32);
    Ok(Some(match saved >> 8 & 0xff {
        0 => return Ok(None),
        1 => Event::Exception { vector, error: None },
        2 => Event::Exception { vector, error: Some(error) },
        3 => Event::Interrupt { vector },
        4 => Event::Software { vector },
        5 => Event::Nmi,
        _ => return Err(LoadError::Field("event")),
    }))
}

impl SavedState {
    /// The state of a processor.
    pub fn of(state: &State) -> SavedState {
        let State {
            gpr,
            rip,
            status: _,
            system_flags: _,
            segments: [es, cs, ss, ds, fs, gs],
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0,
            cr2,
            cr3,
            cr4,
            xcr0,
            dr,
            dr6,
            dr7,
            msrs,
            fpu,
            shadow,
            nmi_blocked,
            event,
            activity,
            identity,
        } = state;
        let Identity { apic_id, processors, tsc_hz, crystal_hz, la57 } = identity;
        let table = |t: &TableRegister| SavedTable { base: t.base, limit: t.limit };
        let mut saved = SavedState {
            version: VERSION,
            gpr: *gpr,
            rip: *rip,
            rflags: state.rflags(),
            segments: [es, cs, ss, ds, fs, gs, ldtr, tr].map(save_segment),
            gdtr: table(gdtr),
            idtr: table(idtr),
            cr0: *cr0,
            cr2: *cr2,
            cr3: *cr3,
            cr4: *cr4,
            xcr0: *xcr0,
            dr: *dr,
            dr6: *dr6,
            dr7: *dr7,
            shadow: match shadow {
                Shadow::None => 0,
                Shadow::Sti => 1,
                Shadow::MovSs => 2,
            },
            nmi_blocked: *nmi_blocked,
            event: save_event(*event),
            activity: match activity {
                Activity::Running => 0,
                Activity::Halted => 1,
                Activity::WaitForSipi => 2,
                Activity::Shutdown => 3,
            },
            apic_id: *apic_id,
            processors: *processors,
            tsc_hz: *tsc_hz,
            crystal_hz: *crystal_hz,
            la57: *la57,
            ..SavedState::default()
        };
        saved.put_msrs(msrs);
        saved.put_fpu(fpu);
        saved
    }

    fn put_msrs(&mut self, msrs: &Msrs) {
        let Msrs {
            efer,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            pat,
            tsc_aux,
            tsc_offset,
            misc_enable,
            mtrr_def_type,
            mtrr_variable,
            mtrr_fixed,
        } = msrs;
        self.efer = *efer;
        self.star = *star;
        self.lstar = *lstar;
        self.cstar = *cstar;
        self.fmask = *fmask;
        self.kernel_gs_base = *kernel_gs_base;
        self.sysenter_cs = *sysenter_cs;
        self.sysenter_esp = *sysenter_esp;
        self.sysenter_eip = *sysenter_eip;
        self.pat = *pat;
        self.tsc_aux = *tsc_aux;
        self.tsc_offset = *tsc_offset;
        self.misc_enable = *misc_enable;
        self.mtrr_def_type = *mtrr_def_type;
        self.mtrr_variable = *mtrr_variable;
        self.mtrr_fixed = *mtrr_fixed;
    }

    fn put_fpu(&mut self, fpu: &Fpu) {
        let Fpu { control, status, tags, opcode, instruction, data, st, xmm, mxcsr } = fpu;
        self.fpu_control = *control;
        self.fpu_status = *status;
        self.fpu_tags = *tags;
        self.fpu_opcode = *opcode;
        self.fpu_instruction = *instruction;
        self.fpu_data = *data;
        self.st = *st;
        self.xmm = *xmm;
        self.mxcsr = *mxcsr;
    }

    /// The processor that was saved.
    ///
    /// # Errors
    /// See [`LoadError`]. What a processor could not have come to by itself but can live with, is taken as it is.
    pub fn load(&self) -> Result<State, LoadError> {
        if self.version != VERSION {
            return Err(LoadError::Version(self.version));
        }
        let [es, cs, ss, ds, fs, gs, ldtr, tr] = self.segments.map(|s| load_segment(&s));
        let table = |t: &SavedTable| TableRegister { base: t.base, limit: t.limit };
        let mut state = State {
            gpr: self.gpr,
            rip: self.rip,
            segments: [es, cs, ss, ds, fs, gs],
            ldtr,
            tr,
            gdtr: table(&self.gdtr),
            idtr: table(&self.idtr),
            cr0: self.cr0,
            cr2: self.cr2,
            cr3: self.cr3,
            cr4: self.cr4,
            xcr0: self.xcr0,
            dr: self.dr,
            dr6: self.dr6,
            dr7: self.dr7,
            msrs: self.msrs(),
            fpu: self.fpu(),
            shadow: match self.shadow {
                0 => Shadow::None,
                1 => Shadow::Sti,
                2 => Shadow::MovSs,
                _ => return Err(LoadError::Field("shadow")),
            },
            nmi_blocked: self.nmi_blocked,
            event: load_event(self.event)?,
            activity: match self.activity {
                0 => Activity::Running,
                1 => Activity::Halted,
                2 => Activity::WaitForSipi,
                3 => Activity::Shutdown,
                _ => return Err(LoadError::Field("activity")),
            },
            identity: Identity {
                apic_id: self.apic_id,
                processors: match self.processors {
                    1..=MOST_PROCESSORS => self.processors,
                    _ => return Err(LoadError::Field("processors")),
                },
                tsc_hz: self.tsc_hz,
                crystal_hz: self.crystal_hz,
                la57: self.la57,
            },
            ..State::reset()
        };
        state.set_rflags(self.rflags);
        Ok(state)
    }

    fn msrs(&self) -> Msrs {
        Msrs {
            efer: self.efer,
            star: self.star,
            lstar: self.lstar,
            cstar: self.cstar,
            fmask: self.fmask,
            kernel_gs_base: self.kernel_gs_base,
            sysenter_cs: self.sysenter_cs,
            sysenter_esp: self.sysenter_esp,
            sysenter_eip: self.sysenter_eip,
            pat: self.pat,
            tsc_aux: self.tsc_aux,
            tsc_offset: self.tsc_offset,
            misc_enable: self.misc_enable,
            mtrr_def_type: self.mtrr_def_type,
            mtrr_variable: self.mtrr_variable,
            mtrr_fixed: self.mtrr_fixed,
        }
    }

    fn fpu(&self) -> Fpu {
        Fpu {
            control: self.fpu_control,
            status: self.fpu_status,
            tags: self.fpu_tags,
            opcode: self.fpu_opcode,
            instruction: self.fpu_instruction,
            data: self.fpu_data,
            st: self.st,
            xmm: self.xmm,
            mxcsr: self.mxcsr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rflags;

    /// A state in which no two fields have the same value; of a segment's flags, one is set in each of the first seven.
    fn unlike() -> State {
        let mut s = State::reset();
        let mut n = 0x1000;
        let mut next = || {
            n += 0x11;
            n
        };
        s.gpr = core::array::from_fn(|_| next());
        for v in
            [&mut s.rip, &mut s.cr0, &mut s.cr2, &mut s.cr3, &mut s.cr4, &mut s.xcr0, &mut s.dr6, &mut s.dr7]
        {
            *v = next();
        }
        s.dr = core::array::from_fn(|_| next());
        let m = &mut s.msrs;
        for v in [
            &mut m.efer,
            &mut m.star,
            &mut m.lstar,
            &mut m.cstar,
            &mut m.fmask,
            &mut m.kernel_gs_base,
            &mut m.sysenter_cs,
            &mut m.sysenter_esp,
            &mut m.sysenter_eip,
            &mut m.pat,
            &mut m.tsc_aux,
            &mut m.tsc_offset,
            &mut m.misc_enable,
            &mut m.mtrr_def_type,
        ] {
            *v = next();
        }
        m.mtrr_variable = core::array::from_fn(|_| next());
        m.mtrr_fixed = core::array::from_fn(|_| next());
        let all = s.segments.iter_mut().chain([&mut s.ldtr, &mut s.tr]);
        for (i, segment) in (0u8..).zip(all) {
            *segment = Segment {
                selector: next() as u16,
                base: next(),
                limit: next() as u32,
                kind: i,
                dpl: i % 4,
                s: i == 0,
                present: i == 1,
                available: i == 2,
                long: i == 3,
                big: i == 4,
                granular: i == 5,
                unusable: i == 6,
            };
        }
        s.gdtr = TableRegister { base: next(), limit: next() as u16 };
        s.idtr = TableRegister { base: next(), limit: next() as u16 };
        s.fpu = Fpu {
            control: next() as u16,
            status: next() as u16,
            tags: 0x5a,
            opcode: next() as u16,
            instruction: next(),
            data: next(),
            st: core::array::from_fn(|_| next().into()),
            xmm: core::array::from_fn(|_| u128::from(next()) << 64),
            mxcsr: next() as u32,
        };
        s.set_rflags(rflags::CF | rflags::IF | rflags::DF | rflags::OF);
        s.nmi_blocked = true;
        s.identity = Identity { apic_id: 3, processors: 5, tsc_hz: next(), crystal_hz: next(), la57: true };
        s
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let events = [
            None,
            Some(Event::Nmi),
            Some(Event::Interrupt { vector: 0x31 }),
            Some(Event::Software { vector: 0x80 }),
            Some(Event::Exception { vector: 14, error: Some(7) }),
            Some(Event::Exception { vector: 6, error: None }),
        ];
        let activities = [Activity::Running, Activity::Halted, Activity::WaitForSipi, Activity::Shutdown];
        for event in events {
            for activity in activities {
                for shadow in [Shadow::None, Shadow::Sti, Shadow::MovSs] {
                    let state = State { event, activity, shadow, ..unlike() };
                    let saved = SavedState::of(&state);
                    assert_eq!(saved.load(), Ok(state));
                }
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        let good = SavedState::of(&State::reset());
        assert_eq!(SavedState { version: 2, ..good.clone() }.load(), Err(LoadError::Version(2)));
        assert_eq!(SavedState { shadow: 3, ..good.clone() }.load(), Err(LoadError::Field("shadow")));
        assert_eq!(SavedState { event: 6 << 8, ..good.clone() }.load(), Err(LoadError::Field("event")));
        assert_eq!(SavedState { activity: 9, ..good.clone() }.load(), Err(LoadError::Field("activity")));
        for processors in [0, 256, u32::MAX] {
            let damaged = SavedState { processors, ..good.clone() };
            assert_eq!(damaged.load(), Err(LoadError::Field("processors")));
        }
        assert_eq!(SavedState { processors: 255, ..good }.load().map(|s| s.identity.processors), Ok(255));
    }
}

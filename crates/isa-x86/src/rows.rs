//! The rows: which mnemonics have a meaning. What they are to a virtual machine monitor is in [`crate::sensitivity`].
//!
//! A row is one entry of the decoder's table (an `iced_x86::Code`: mnemonic with operand forms and encoding). Rows of
//! one mnemonic share one meaning.

use iced_x86::{Code, CpuidFeature, Mnemonic};

/// Calls macro `$go` with all pairs `(Mnemonic, meaning)`.
#[macro_export]
macro_rules! for_each_meaning {
    ($go:ident) => {
        $go! {
            // integer and logic
            (Add, add)
            (Adc, adc)
            (Sub, sub)
            (Sbb, sbb)
            (Cmp, cmp)
            (And, and)
            (Or, or)
            (Xor, xor)
            (Test, test)
            (Inc, inc)
            (Dec, dec)
            (Not, not)
            (Neg, neg)
            (Adcx, adcx)
            (Adox, adox)
            // moves
            (Mov, mov)
            (Movzx, movzx)
            (Movsx, movsx)
            (Movsxd, movsx)
            (Movnti, mov)
            (Movdiri, mov)
            (Movbe, movbe)
            (Bswap, bswap)
            (Lea, lea)
            (Cbw, cbw)
            (Cwde, cwde)
            (Cdqe, cdqe)
            (Cwd, cwd)
            (Cdq, cdq)
            (Cqo, cqo)
            (Xlatb, xlatb)
            // exchanges
            (Xchg, xchg)
            (Xadd, xadd)
            (Cmpxchg, cmpxchg)
            (Cmpxchg8b, cmpxchg8b)
            (Cmpxchg16b, cmpxchg16b)
            // multiplication and division
            (Mul, mul)
            (Imul, imul)
            (Mulx, mulx)
            (Div, div)
            (Idiv, idiv)
            // shifts and rotations
            (Shl, shl)
            (Sal, shl)
            (Shr, shr)
            (Sar, sar)
            (Rol, rol)
            (Ror, ror)
            (Rcl, rcl)
            (Rcr, rcr)
            (Shld, shld)
            (Shrd, shrd)
            (Shlx, shlx)
            (Shrx, shrx)
            (Sarx, sarx)
            (Rorx, rorx)
            // bits
            (Bt, bt)
            (Bts, bts)
            (Btr, btr)
            (Btc, btc)
            (Bsf, bsf)
            (Bsr, bsr)
            (Tzcnt, tzcnt)
            (Lzcnt, lzcnt)
            (Popcnt, popcnt)
            (Crc32, crc32)
            (Andn, andn)
            (Bextr, bextr)
            (Blsi, blsi)
            (Blsmsk, blsmsk)
            (Blsr, blsr)
            (Bzhi, bzhi)
            (Pdep, pdep)
            (Pext, pext)
            // conditions
            (Jo, jo)
            (Jno, jno)
            (Jb, jb)
            (Jae, jae)
            (Je, je)
            (Jne, jne)
            (Jbe, jbe)
            (Ja, ja)
            (Js, js)
            (Jns, jns)
            (Jp, jp)
            (Jnp, jnp)
            (Jl, jl)
            (Jge, jge)
            (Jle, jle)
            (Jg, jg)
            (Cmovo, cmovo)
            (Cmovno, cmovno)
            (Cmovb, cmovb)
            (Cmovae, cmovae)
            (Cmove, cmove)
            (Cmovne, cmovne)
            (Cmovbe, cmovbe)
            (Cmova, cmova)
            (Cmovs, cmovs)
            (Cmovns, cmovns)
            (Cmovp, cmovp)
            (Cmovnp, cmovnp)
            (Cmovl, cmovl)
            (Cmovge, cmovge)
            (Cmovle, cmovle)
            (Cmovg, cmovg)
            (Seto, seto)
            (Setno, setno)
            (Setb, setb)
            (Setae, setae)
            (Sete, sete)
            (Setne, setne)
            (Setbe, setbe)
            (Seta, seta)
            (Sets, sets)
            (Setns, setns)
            (Setp, setp)
            (Setnp, setnp)
            (Setl, setl)
            (Setge, setge)
            (Setle, setle)
            (Setg, setg)
            // near branches
            (Jmp, jmp)
            (Call, call)
            (Ret, ret)
            (Jcxz, jcxz)
            (Jecxz, jecxz)
            (Jrcxz, jrcxz)
            (Loop, loop_)
            (Loope, loope)
            (Loopne, loopne)
            // the stack
            (Push, push)
            (Pop, pop)
            (Pusha, pusha)
            (Pushad, pusha)
            (Popa, popa)
            (Popad, popa)
            (Enter, enter)
            (Leave, leave)
            (Bound, bound)
            // strings
            (Movsb, movsb)
            (Movsw, movsw)
            (Movsd, movsd)
            (Movsq, movsq)
            (Cmpsb, cmpsb)
            (Cmpsw, cmpsw)
            (Cmpsd, cmpsd)
            (Cmpsq, cmpsq)
            (Scasb, scasb)
            (Scasw, scasw)
            (Scasd, scasd)
            (Scasq, scasq)
            (Lodsb, lodsb)
            (Lodsw, lodsw)
            (Lodsd, lodsd)
            (Lodsq, lodsq)
            (Stosb, stosb)
            (Stosw, stosw)
            (Stosd, stosd)
            (Stosq, stosq)
            // flags, fences, hints
            (Clc, clc)
            (Stc, stc)
            (Cmc, cmc)
            (Cld, cld)
            (Std, std)
            (Lahf, lahf)
            (Sahf, sahf)
            (Nop, nop)
            (Reservednop, nop)
            (Lfence, fence)
            (Mfence, fence)
            (Sfence, fence)
            (Pause, pause)
            (Clflush, flush_line)
            (Clflushopt, flush_line)
            (Clwb, flush_line)
            (Ud0, ud)
            (Ud1, ud)
            (Ud2, ud)
            // decimal
            (Aaa, aaa)
            (Aad, aad)
            (Aam, aam)
            (Aas, aas)
            (Daa, daa)
            (Das, das)
            (Salc, salc)
            // system
            (Arpl, arpl)
            (Clac, clac)
            (Cli, cli)
            (Clts, clts)
            (Cpuid, cpuid)
            (Fldcw, fldcw)
            (Fnclex, fnclex)
            (Fninit, fninit)
            (Fnstcw, fnstcw)
            (Fnstsw, fnstsw)
            (Fxrstor, fxrstor)
            (Fxrstor64, fxrstor64)
            (Fxsave, fxsave)
            (Fxsave64, fxsave64)
            (Hlt, hlt)
            (In, in_)
            (Insb, insb)
            (Insd, insd)
            (Insw, insw)
            (Int, int)
            (Int1, int1)
            (Int3, int3)
            (Into, into)
            (Invd, caches)
            (Invlpg, invlpg)
            (Invpcid, invpcid)
            (Iret, iret)
            (Iretd, iretd)
            (Iretq, iretq)
            (Lar, lar)
            (Ldmxcsr, ldmxcsr)
            (Lds, lds)
            (Les, les)
            (Lfs, lfs)
            (Lgdt, lgdt)
            (Lgs, lgs)
            (Lidt, lidt)
            (Lldt, lldt)
            (Lmsw, lmsw)
            (Lsl, lsl)
            (Lss, lss)
            (Ltr, ltr)
            (Out, out)
            (Outsb, outsb)
            (Outsd, outsd)
            (Outsw, outsw)
            (Popf, popf)
            (Popfd, popf)
            (Popfq, popf)
            (Pushf, pushf)
            (Pushfd, pushf)
            (Pushfq, pushf)
            (Rdfsbase, rdfsbase)
            (Rdgsbase, rdgsbase)
            (Rdmsr, rdmsr)
            (Rdpid, rdpid)
            (Rdpmc, rdpmc)
            (Rdtsc, rdtsc)
            (Rdtscp, rdtscp)
            (Retf, retf)
            (Serialize, serialize)
            (Sgdt, sgdt)
            (Sidt, sidt)
            (Sldt, sldt)
            (Smsw, smsw)
            (Stac, stac)
            (Sti, sti)
            (Stmxcsr, stmxcsr)
            (Str, str)
            (Swapgs, swapgs)
            (Syscall, syscall)
            (Sysenter, sysenter)
            (Sysexit, sysexit)
            (Sysexitq, sysexitq)
            (Sysret, sysret)
            (Sysretq, sysretq)
            (Verr, verr)
            (Verw, verw)
            (Wait, wait)
            (Wbinvd, caches)
            (Wrfsbase, wrfsbase)
            (Wrgsbase, wrgsbase)
            (Wrmsr, wrmsr)
        }
    };
}

macro_rules! meanings {
    ($( ($Mnemonic:ident, $meaning:ident) )*) => {
        /// A mnemonic that has a meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the names are the manual's")]
        pub enum Meaning { $( $Mnemonic, )* }

        impl Meaning {
            /// All of them.
            pub const ALL: &[Meaning] = &[ $( Meaning::$Mnemonic, )* ];

            /// The meaning of a mnemonic, if it has one.
            pub fn of_mnemonic(mnemonic: Mnemonic) -> Option<Meaning> {
                match mnemonic {
                    $( Mnemonic::$Mnemonic => Some(Meaning::$Mnemonic), )*
                    _ => None,
                }
            }
        }

        /// Runs the meaning of `insn`.
        ///
        /// # Errors
        /// Why it stopped.
        pub fn execute<M: $crate::X86Machine>(m: &mut M, meaning: Meaning, insn: &$crate::Insn) -> $crate::sem::Done<M> {
            match meaning { $( Meaning::$Mnemonic => $crate::sem::$meaning(m, insn), )* }
        }
    };
}

for_each_meaning!(meanings);

/// The last of the meanings that need nothing but general registers, status flags and memory: see [`for_each_meaning`].
const LAST_AT_USER_LEVEL: Meaning = Meaning::Salc;

impl Meaning {
    /// Whether it is among those before the section `system`: all that it needs and changes is general registers, status
    /// flags, DF and memory. (`mov`, `push`, `pop`, `jmp` and `call` are, but for their rows with segment, control or
    /// debug registers or selectors.)
    pub fn is_user_level(self) -> bool {
        self <= LAST_AT_USER_LEVEL
    }
}

impl Meaning {
    /// The meaning of a row: none where it needs a feature that the processor does not have (SSE, AVX, and so on; some
    /// of their mnemonics are also those of integer instructions).
    pub fn of(code: Code) -> Option<Meaning> {
        let has = code.cpuid_features().iter().all(|feature| FEATURES.contains(feature));
        let meaning = Meaning::of_mnemonic(code.mnemonic())?;
        (has || OF_SSE.contains(&meaning)).then_some(meaning)
    }
}

/// What came with SSE but is for general registers, so that the processor has it without the vector registers.
const OF_SSE: &[Meaning] = &[
    Meaning::Crc32,
    Meaning::Ldmxcsr,
    Meaning::Lfence,
    Meaning::Mfence,
    Meaning::Movnti,
    Meaning::Pause,
    Meaning::Sfence,
    Meaning::Stmxcsr,
];

/// What the processor has, in the decoder's terms.
pub const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::ADX,
    CpuidFeature::BMI1,
    CpuidFeature::BMI2,
    CpuidFeature::CLFLUSHOPT,
    CpuidFeature::CLFSH,
    CpuidFeature::CLWB,
    CpuidFeature::CMOV,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::CX8,
    CpuidFeature::LZCNT,
    CpuidFeature::MOVBE,
    CpuidFeature::MOVDIRI,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::POPCNT,
    // system
    CpuidFeature::CPUID,
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FSGSBASE,
    CpuidFeature::FXSR,
    CpuidFeature::INVPCID,
    CpuidFeature::MSR,
    CpuidFeature::RDPID,
    CpuidFeature::RDPMC,
    CpuidFeature::RDTSCP,
    CpuidFeature::SEP,
    CpuidFeature::SERIALIZE,
    CpuidFeature::SMAP,
    CpuidFeature::SYSCALL,
    CpuidFeature::TSC,
];

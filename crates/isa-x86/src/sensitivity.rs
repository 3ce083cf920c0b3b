//! The sensitive meanings: what makes each sensitive, and how it traps at privilege level 3 (with IOPL 0).
//!
//! Unlike RISC-V this architecture has violations: J. S. Robin and C. E. Irvine, "Analysis of the Intel Pentium's Ability
//! to Support a Secure Virtual Machine Monitor", 2000, found seventeen; UMIP has since made five of them trap.

use crate::rows::Meaning;
use isa_core::{Sensitivity, Traps};

/// What makes `meaning` sensitive; `None` if it is innocuous. A meaning that is shared by rows of which only some are
/// sensitive (`mov`, `call`) is described by those.
pub const fn sensitivity(meaning: Meaning) -> Option<Sensitivity> {
    use Meaning::*;
    Some(match meaning {
        Hlt => always("stops the processor"),
        Clts | Lmsw => always("changes CR0"),
        Lgdt | Lidt | Lldt | Ltr => always("changes a descriptor-table or task register"),
        Rdmsr => always("shows a model-specific register"),
        Wrmsr => always("changes a model-specific register"),
        Rdpmc => always("shows a performance counter"),
        Invlpg | Invpcid => always("ends translations"),
        Invd | Wbinvd => always("writes back or drops the caches"),
        Clac | Stac => always("changes what a supervisor may access"),
        Swapgs => always("shows and changes a model-specific register"),
        Sysexit | Sysexitq | Sysret | Sysretq => always("changes the privilege level"),
        Cli | Sti => when("IOPL", "changes IF"),
        In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd => {
            when("IOPL and the I/O permission bit map", "reaches a device")
        }
        Sgdt | Sidt => when("CR4.UMIP", "shows where a descriptor table is"),
        Sldt | Str => when("CR4.UMIP", "shows a selector that the supervisor has loaded"),
        Smsw => when("CR4.UMIP", "shows CR0"),
        Rdtsc | Rdtscp => when("CR4.TSD", "shows the time"),
        Int | Int1 | Int3 | Into => when("the DPL of the gate", "enters the supervisor"),
        Syscall => when("EFER.SCE", "enters the supervisor"),
        Sysenter => when("IA32_SYSENTER_CS", "enters the supervisor"),
        Rdfsbase | Rdgsbase | Wrfsbase | Wrgsbase => when("CR4.FSGSBASE", "behaves by a control register"),
        Fninit | Fnclex | Fnstcw | Fldcw | Fnstsw | Fxsave | Fxsave64 | Fxrstor | Fxrstor64 | Ldmxcsr
        | Stmxcsr | Wait => when("CR0.TS, CR0.EM", "behaves by a control register"),
        Lar | Lsl | Verr | Verw => never("tells of descriptors, by the privilege level"),
        Arpl => never("the RPLs that it compares name the monitor's privilege levels"),
        Pushf | Pushfd | Pushfq => never("shows IF and IOPL"),
        Popf | Popfd | Popfq => never("leaves IF and IOPL alone, which it changes at level 0"),
        Mov => never(
            "shows and loads segment registers, whose RPL is the privilege level (CR and DR: always traps)",
        ),
        Push => never("shows the privilege level, in the forms of segment registers"),
        Pop | Lds | Les | Lfs | Lgs | Lss => never("loads a segment register, by the privilege level"),
        Call | Jmp | Retf => {
            never("loads CS or goes through a gate, by the privilege level, in the far forms")
        }
        Iret | Iretd | Iretq => never("loads CS and flags, by the privilege level"),
        Cpuid => never("shows the processor's model"),
        Rdpid => never("shows which processor it is"),
        _ => return None,
    })
}

const fn always(why: &'static str) -> Sensitivity {
    Sensitivity { traps: Traps::Always, why }
}

const fn when(control: &'static str, why: &'static str) -> Sensitivity {
    Sensitivity { traps: Traps::When(control), why }
}

const fn never(why: &'static str) -> Sensitivity {
    Sensitivity { traps: Traps::Never, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_violations_are_those_of_the_literature_that_umip_has_left_and_what_came_since() {
        use Meaning::*;
        let found: Vec<Meaning> =
            Meaning::ALL.iter().copied().filter(|&m| sensitivity(m).is_some_and(|s| s.violates())).collect();
        let known = [
            Pushf, Pushfd, Pushfq, Popf, Popfd, Popfq, Lar, Lsl, Verr, Verw, Push, Pop, Call, Jmp, Retf, Mov,
        ];
        assert!(known.iter().all(|m| found.contains(m)));
        let more = [Arpl, Lds, Les, Lfs, Lgs, Lss, Iret, Iretd, Iretq, Cpuid, Rdpid];
        assert_eq!(found.len(), known.len() + more.len(), "{found:?}");
        assert!(more.iter().all(|m| found.contains(m)));
        for innocuous in [Add, Nop, Lea] {
            assert_eq!(sensitivity(innocuous), None);
        }
    }
}

//! Popek and Goldberg's attributes of each meaning: which instructions a virtual machine monitor would have to see, and
//! which of them it does not see because they do not trap (G. J. Popek and R. P. Goldberg, "Formal Requirements for
//! Virtualizable Third Generation Architectures", 1974; for this architecture J. S. Robin and C. E. Irvine, "Analysis of
//! the Intel Pentium's Ability to Support a Secure Virtual Machine Monitor", 2000).

use crate::rows::Meaning;

/// What a meaning is to a monitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// It faults at privilege level 3 (with IOPL 0 and a closed I/O permission map, where those count), always or, for
    /// moves of registers, in the forms that name control or debug registers.
    pub privileged: bool,
    /// Why it is sensitive, if it is: it shows or changes the state of the machine, or behaves by it.
    pub sensitive: Option<&'static str>,
}

impl Attributes {
    /// Sensitive and not privileged: what keeps the architecture from being virtualizable by trapping alone.
    pub const fn violates(self) -> bool {
        self.sensitive.is_some() && !self.privileged
    }
}

/// The attributes of a meaning.
pub const fn attributes(meaning: Meaning) -> Attributes {
    use Meaning::*;
    match meaning {
        Hlt => privileged("stops the processor"),
        Clts => privileged("changes CR0"),
        Lmsw => privileged("changes CR0"),
        Lgdt | Lidt | Lldt | Ltr => privileged("changes a descriptor-table or task register"),
        Rdmsr => privileged("shows a model-specific register"),
        Wrmsr => privileged("changes a model-specific register"),
        Rdpmc => privileged("shows a performance counter"),
        Invlpg | Invpcid => privileged("ends translations"),
        Invd | Wbinvd => privileged("writes back or drops the caches"),
        Clac | Stac => privileged("changes what a supervisor may access"),
        Swapgs => privileged("shows and changes a model-specific register"),
        Sysexit | Sysexitq | Sysret | Sysretq => privileged("changes the privilege level"),
        Cli | Sti => privileged("changes IF; with IOPL 3 it does not trap"),
        In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd => {
            privileged("reaches a device; with IOPL 3 or an open map it does not trap")
        }
        Sgdt | Sidt => silent("shows where the descriptor table is; faults only with CR4.UMIP"),
        Sldt | Str => silent("shows the selector that the supervisor has loaded; faults only with CR4.UMIP"),
        Smsw => silent("shows CR0; faults only with CR4.UMIP"),
        Lar | Lsl | Verr | Verw => silent("tells of descriptors, by the privilege level"),
        Arpl => silent("compares with the privilege level that the monitor has taken away"),
        Pushf | Pushfd | Pushfq => silent("shows IF and IOPL"),
        Popf | Popfd | Popfq => {
            silent("leaves IF and IOPL as they are at level 3 where it would change them at level 0")
        }
        Mov => silent(
            "shows and loads segment registers, whose RPL is the privilege level; CR and DR forms trap",
        ),
        Push => silent("the forms of segment registers show the privilege level"),
        Pop | Lds | Les | Lfs | Lgs | Lss => silent("loads a segment register, by the privilege level"),
        Call | Jmp | Retf => silent("the far forms load CS, by the privilege level, or go through a gate"),
        Int | Int1 | Int3 | Into => silent("enters the supervisor through a gate"),
        Iret | Iretd | Iretq => silent("loads CS and the flags, by the privilege level"),
        Syscall | Sysenter => silent("enters the supervisor"),
        Cpuid => silent("shows the processor's model"),
        Rdtsc | Rdtscp => silent("shows the time; faults only with CR4.TSD"),
        Rdpid => silent("shows which processor it is"),
        Rdfsbase | Rdgsbase | Wrfsbase | Wrgsbase => silent("behaves by CR4.FSGSBASE"),
        Fninit | Fnclex | Fnstcw | Fldcw | Fnstsw | Fxsave | Fxsave64 | Fxrstor | Fxrstor64 | Ldmxcsr
        | Stmxcsr | Wait => silent("behaves by CR0.TS and CR0.EM"),
        _ => Attributes { privileged: false, sensitive: None },
    }
}

const fn privileged(reason: &'static str) -> Attributes {
    Attributes { privileged: true, sensitive: Some(reason) }
}

const fn silent(reason: &'static str) -> Attributes {
    Attributes { privileged: false, sensitive: Some(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classical_violations_are_among_them() {
        let violating: Vec<Meaning> =
            Meaning::ALL.iter().copied().filter(|&m| attributes(m).violates()).collect();
        // The seventeen of Robin and Irvine.
        use Meaning::*;
        for m in [
            Sgdt, Sidt, Sldt, Smsw, Pushf, Popf, Lar, Lsl, Verr, Verw, Pop, Push, Call, Jmp, Int, Retf, Str,
            Mov,
        ] {
            assert!(violating.contains(&m), "{m:?}");
        }
        for m in [Hlt, Add, Lgdt, In, Wrmsr] {
            assert!(!violating.contains(&m), "{m:?}");
        }
    }
}

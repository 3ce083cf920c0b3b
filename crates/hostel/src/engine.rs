//! What executes the instructions, as `--engine` and TOML files name it.

use crate::choice::{ChoiceError, Clock, Machine, one_of};
use crate::{say, text::from_text};
use std::fmt;
use std::str::FromStr;
use vm_machine::{ClockKind, Irqchip, JitOptions};

/// What executes the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interp,
    /// The translator.
    Jit(JitOptions),
    /// The translator and the interpreter, compared.
    Check(JitOptions),
    /// KVM, with interrupt controllers of the kernel's or of ours.
    Kvm(Irqchip),
}

/// How the translator's threshold is given.
const THRESHOLD: &str = ",threshold=";

impl Engine {
    /// Where the user names none: the translator, for the boards that it knows. A host that has what it takes may refuse it.
    pub fn default_for(machine: Machine) -> Engine {
        if machine.x86() || engine_jit::Jit::missing().is_some() {
            return Engine::Interp;
        }
        match engine_jit::trial() {
            Ok(()) => Engine::Jit(JitOptions::default()),
            Err(why) => {
                say::note(&format!("the translator cannot be used: {why}; the guest is interpreted"));
                Engine::Interp
            }
        }
    }

    /// As a machine takes it.
    pub fn of_machine(self) -> vm_machine::Engine {
        match self {
            Engine::Interp => vm_machine::Engine::Interp,
            Engine::Jit(options) => vm_machine::Engine::Jit(options),
            Engine::Check(options) => vm_machine::Engine::Check(options),
            Engine::Kvm(irqchip) => vm_machine::Engine::Kvm(irqchip),
        }
    }

    /// Whether two engines are compared.
    pub fn checks(self) -> bool {
        matches!(self, Engine::Check(_))
    }

    /// Where guest time comes from where the user does not say: engines can be compared only where it counts instructions.
    pub fn default_clock(self) -> Clock {
        if self.checks() { Clock(ClockKind::Virtual) } else { Clock::default() }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Engine::Interp => "interp",
            Engine::Jit(options) if options == JitOptions::default() => "jit",
            Engine::Jit(JitOptions { threshold }) => return write!(f, "jit{THRESHOLD}{threshold}"),
            Engine::Check(options) if options == JitOptions::default() => "check",
            Engine::Check(JitOptions { threshold }) => return write!(f, "check{THRESHOLD}{threshold}"),
            Engine::Kvm(Irqchip::Kernel) => "kvm",
            Engine::Kvm(Irqchip::User) => "kvm,irqchip=user",
        })
    }
}

impl FromStr for Engine {
    type Err = ChoiceError;
    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text == "kvm,irqchip=kernel" {
            return Ok(Engine::Kvm(Irqchip::Kernel));
        }
        let translator = |name: &str| text.strip_prefix(name)?.strip_prefix(THRESHOLD);
        if let Some(given) = translator("jit").or_else(|| translator("check")) {
            // `parse` would take a plus sign.
            let digits = given.bytes().all(|byte| byte.is_ascii_digit());
            let threshold = given.parse().ok().filter(|_| digits);
            let threshold = threshold.ok_or_else(|| ChoiceError::Threshold(given.to_owned()))?;
            let options = JitOptions { threshold };
            return Ok(if text.starts_with("jit") { Engine::Jit(options) } else { Engine::Check(options) });
        }
        one_of(
            "engine",
            text,
            &[
                Engine::Interp,
                Engine::Jit(JitOptions::default()),
                Engine::Check(JitOptions::default()),
                Engine::Kvm(Irqchip::Kernel),
                Engine::Kvm(Irqchip::User),
            ],
        )
    }
}

from_text! {
    Engine: "the name of an engine, such as \"interp\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_translator_has_a_threshold() {
        for threshold in [0, 1, 255] {
            let engine = Engine::Jit(JitOptions { threshold });
            assert_eq!(engine.to_string().parse(), Ok(engine));
            assert_eq!(engine.to_string(), format!("jit,threshold={threshold}"));
            let check = Engine::Check(JitOptions { threshold });
            assert_eq!(check.to_string().parse(), Ok(check));
            assert_eq!(check.to_string(), format!("check,threshold={threshold}"));
        }
        let check = Engine::Check(JitOptions::default());
        assert_eq!(("check".parse(), check.to_string()), (Ok(check), "check".to_owned()));
        let usual = Engine::Jit(JitOptions::default());
        assert_eq!(("jit".parse(), usual.to_string()), (Ok(usual), "jit".to_owned()));
        for wrong in ["", "-1", "+1", "256", "x", "1 "] {
            let text = format!("jit,threshold={wrong}");
            assert_eq!(text.parse::<Engine>(), Err(ChoiceError::Threshold(wrong.into())), "{text}");
        }
        for wrong in ["jit,", "jit,threshold", "Jit", "jit,tier=1", "check,", "check,jit,threshold=1"] {
            assert!(matches!(wrong.parse::<Engine>(), Err(ChoiceError::NotOne { .. })), "{wrong}");
        }
    }
}

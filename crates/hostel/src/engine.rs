//! What executes the instructions, as `--engine` and TOML files name it.

use crate::choice::{ChoiceError, Clock, Machine, one_of};
use crate::{say, text::from_text};
use engine_jit::Tiers;
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

/// How the translator's tier is given.
const TIER: &str = "tier=";
/// How its threshold is given.
const THRESHOLD: &str = "threshold=";

/// What is said behind the name of a translator.
fn said(options: JitOptions) -> String {
    let tier = match options.tiers {
        Tiers::Both => String::new(),
        Tiers::First => format!(",{TIER}1"),
        Tiers::Second => format!(",{TIER}2"),
    };
    let JitOptions { threshold, .. } = options;
    let usual = threshold == JitOptions::default().threshold;
    if usual { tier } else { format!("{tier},{THRESHOLD}{threshold}") }
}

/// The translator's options as they are given, each at most once; `None` if it has no such option.
fn options(given: &str) -> Result<Option<JitOptions>, ChoiceError> {
    let (mut tiers, mut threshold) = (None, None);
    for option in given.split(',') {
        if let Some(tier) = option.strip_prefix(TIER).filter(|_| tiers.is_none()) {
            tiers = Some(match tier {
                "1" => Tiers::First,
                "2" => Tiers::Second,
                _ => return Err(ChoiceError::Tier(tier.to_owned())),
            });
        } else if let Some(times) = option.strip_prefix(THRESHOLD).filter(|_| threshold.is_none()) {
            // `parse` would take a plus sign.
            let digits = times.bytes().all(|byte| byte.is_ascii_digit());
            let number = times.parse().ok().filter(|_| digits);
            threshold = Some(number.ok_or_else(|| ChoiceError::Threshold(times.to_owned()))?);
        } else {
            return Ok(None);
        }
    }
    let JitOptions { threshold: usual, .. } = JitOptions::default();
    Ok(Some(JitOptions { threshold: threshold.unwrap_or(usual), tiers: tiers.unwrap_or_default() }))
}

impl Engine {
    /// Every engine, as it is without options; KVM, which has two forms, twice.
    pub fn all() -> [Engine; 5] {
        [
            Engine::Interp,
            Engine::Jit(JitOptions::default()),
            Engine::Check(JitOptions::default()),
            Engine::Kvm(Irqchip::Kernel),
            Engine::Kvm(Irqchip::User),
        ]
    }

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
            Engine::Jit(options) => return write!(f, "jit{}", said(options)),
            Engine::Check(options) => return write!(f, "check{}", said(options)),
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
        if let Some((name @ ("jit" | "check"), given)) = text.split_once(',')
            && let Some(options) = options(given)?
        {
            return Ok(if name == "jit" { Engine::Jit(options) } else { Engine::Check(options) });
        }
        one_of("engine", text, &Engine::all())
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
            let options = JitOptions { threshold, ..JitOptions::default() };
            let engine = Engine::Jit(options);
            assert_eq!(engine.to_string().parse(), Ok(engine));
            assert_eq!(engine.to_string(), format!("jit,threshold={threshold}"));
            let check = Engine::Check(options);
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
        for wrong in ["jit,", "jit,threshold", "Jit", "check,", "check,jit,threshold=1"] {
            assert!(matches!(wrong.parse::<Engine>(), Err(ChoiceError::NotOne { .. })), "{wrong}");
        }
    }

    #[test]
    fn the_translator_has_tiers() {
        let options = |threshold, tiers| JitOptions { threshold, tiers };
        for (text, options) in [
            ("", options(16, Tiers::Both)),
            (",tier=1", options(16, Tiers::First)),
            (",tier=2", options(16, Tiers::Second)),
            (",tier=2,threshold=0", options(0, Tiers::Second)),
        ] {
            for engine in [Engine::Jit(options), Engine::Check(options)] {
                let name = if engine.checks() { "check" } else { "jit" };
                assert_eq!(
                    (engine.to_string(), engine),
                    (format!("{name}{text}"), format!("{name}{text}").parse().unwrap())
                );
            }
        }
        assert_eq!("jit,threshold=0,tier=1".parse(), Ok(Engine::Jit(options(0, Tiers::First))));
        for wrong in ["", "0", "3", "+1", "1 ", "both"] {
            let text = format!("check,tier={wrong}");
            assert_eq!(text.parse::<Engine>(), Err(ChoiceError::Tier(wrong.into())), "{text}");
        }
        for wrong in [
            "jit,tier",
            "jit,tier=1,tier=1",
            "jit,tier=1,",
            "jit,,tier=1",
            "interp,tier=1",
            "jit,threshold=1,threshold=1",
        ] {
            assert!(matches!(wrong.parse::<Engine>(), Err(ChoiceError::NotOne { .. })), "{wrong}");
        }
    }
}

//! The sixteen conditions of x86 conditional instructions, on flags that are not computed yet (Intel SDM volume 1,
//! appendix "EFLAGS Condition Codes").

use crate::{Flag, FlagKind, LazyFlags};

/// A condition, numbered as in the opcodes' low four bits: an odd one is the negation of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Condition {
    /// OF
    Overflow,
    /// not OF
    NoOverflow,
    /// CF: unsigned less.
    Below,
    /// not CF
    AboveOrEqual,
    /// ZF
    Equal,
    /// not ZF
    NotEqual,
    /// CF or ZF
    BelowOrEqual,
    /// neither CF nor ZF: unsigned greater.
    Above,
    /// SF
    Sign,
    /// not SF
    NoSign,
    /// PF
    Parity,
    /// not PF
    NoParity,
    /// SF differs from OF: signed less.
    Less,
    /// SF equals OF
    GreaterOrEqual,
    /// ZF, or SF differs from OF
    LessOrEqual,
    /// not ZF, and SF equals OF: signed greater.
    Greater,
}

impl Condition {
    /// All of them, by number.
    pub const ALL: [Condition; 16] = [
        Condition::Overflow,
        Condition::NoOverflow,
        Condition::Below,
        Condition::AboveOrEqual,
        Condition::Equal,
        Condition::NotEqual,
        Condition::BelowOrEqual,
        Condition::Above,
        Condition::Sign,
        Condition::NoSign,
        Condition::Parity,
        Condition::NoParity,
        Condition::Less,
        Condition::GreaterOrEqual,
        Condition::LessOrEqual,
        Condition::Greater,
    ];

    /// Whether this is the negation of the condition before it.
    pub const fn negated(self) -> bool {
        self as u8 & 1 != 0
    }
}

impl LazyFlags {
    /// Whether the condition holds. What follows a comparison most often, needs no single flag.
    #[inline]
    pub const fn condition(self, condition: Condition) -> bool {
        let plain = match (condition, self.kind) {
            (Condition::Below | Condition::AboveOrEqual, FlagKind::Sub) if self.c == 0 => self.a < self.b,
            (Condition::BelowOrEqual | Condition::Above, FlagKind::Sub) if self.c == 0 => self.a <= self.b,
            (Condition::Less | Condition::GreaterOrEqual, FlagKind::Sub) if self.c == 0 => self.signed_less(),
            (Condition::LessOrEqual | Condition::Greater, FlagKind::Sub) if self.c == 0 => {
                self.a == self.b || self.signed_less()
            }
            (Condition::Overflow | Condition::NoOverflow, _) => self.flag(Flag::Overflow),
            (Condition::Below | Condition::AboveOrEqual, _) => self.flag(Flag::Carry),
            (Condition::Equal | Condition::NotEqual, _) => self.flag(Flag::Zero),
            (Condition::BelowOrEqual | Condition::Above, _) => {
                self.flag(Flag::Carry) || self.flag(Flag::Zero)
            }
            (Condition::Sign | Condition::NoSign, _) => self.flag(Flag::Sign),
            (Condition::Parity | Condition::NoParity, _) => self.flag(Flag::Parity),
            (Condition::Less | Condition::GreaterOrEqual, _) => {
                self.flag(Flag::Sign) != self.flag(Flag::Overflow)
            }
            (Condition::LessOrEqual | Condition::Greater, _) => {
                self.flag(Flag::Zero) || self.flag(Flag::Sign) != self.flag(Flag::Overflow)
            }
        };
        plain != condition.negated()
    }

    const fn signed_less(self) -> bool {
        (self.width.sign_extend(self.a) as i64) < self.width.sign_extend(self.b) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Width;

    /// The definition, flag by flag.
    fn from_bits(bits: u64, condition: Condition) -> bool {
        let flag = |f: Flag| bits >> f as u8 & 1 != 0;
        let (less, zero) = (flag(Flag::Sign) != flag(Flag::Overflow), flag(Flag::Zero));
        let plain = match condition as u8 / 2 {
            0 => flag(Flag::Overflow),
            1 => flag(Flag::Carry),
            2 => zero,
            3 => flag(Flag::Carry) || zero,
            4 => flag(Flag::Sign),
            5 => flag(Flag::Parity),
            6 => less,
            _ => less || zero,
        };
        plain != (condition as u8 % 2 == 1)
    }

    #[test]
    fn short_cuts_agree_with_the_flags() {
        let kinds = [FlagKind::Add, FlagKind::Sub, FlagKind::Logic, FlagKind::Inc, FlagKind::Dec];
        for kind in kinds {
            for (a, b) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
                for c in 0..=1 {
                    let flags = LazyFlags { kind, width: Width::B1, a, b, c };
                    for condition in Condition::ALL {
                        assert_eq!(
                            flags.condition(condition),
                            from_bits(flags.bits(), condition),
                            "{flags:?} {condition:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_opcodes() {
        for (n, condition) in Condition::ALL.into_iter().enumerate() {
            assert_eq!(condition as usize, n);
        }
    }
}

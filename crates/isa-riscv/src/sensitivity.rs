//! The sensitive rows: what makes each sensitive, and how it traps in U-mode.
//!
//! RISC-V has no violation: what does not always trap can be made to, by the counter-enable and environment
//! configuration CSRs (Privileged ISA, "Machine Counter-Enable", "Machine Environment Configuration").

use crate::rows::{Row, flag};
use isa_core::{Sensitivity, Traps};

/// What makes `row` sensitive; `None` if it is innocuous.
pub fn sensitivity(row: &Row) -> Option<Sensitivity> {
    if row.flags & flag::SENSITIVE == 0 {
        return None;
    }
    let (traps, why) = match row.name {
        "csrrw" | "csrrs" | "csrrc" | "csrrwi" | "csrrsi" | "csrrci" => (
            Traps::When("mcounteren, scounteren for the counters; always for CSRs of higher modes"),
            "reads or changes the CSRs of the machine; the counters are readable in U-mode where enabled",
        ),
        "cbo.inval" | "cbo.clean" | "cbo.flush" | "cbo.zero" => {
            (Traps::When("menvcfg, senvcfg: CBIE, CBCFE, CBZE"), "acts on caches, which are the machine's")
        }
        "mret" | "sret" => (Traps::Always, "changes the privilege mode"),
        "wfi" => (Traps::Always, "stops the hart"),
        _ => (Traps::Always, "orders or drops cached translations"),
    };
    Some(Sensitivity { traps, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ROWS;

    #[test]
    fn privileged_rows_are_those_that_always_trap() {
        let mut sensitive = 0;
        for row in ROWS {
            let found = sensitivity(row);
            let privileged = row.flags & flag::PRIVILEGED != 0;
            let always = found.is_some_and(|s| s.traps == Traps::Always);
            assert_eq!(privileged, always, "{}", row.name);
            assert!(found.is_none_or(|s| !s.violates()), "{}", row.name);
            sensitive += u32::from(found.is_some());
        }
        assert!(sensitive > 10);
    }

    #[test]
    fn the_rows_without_an_entry_of_their_own_are_fences() {
        let own = ["csr", "cbo", "mret", "sret", "wfi"];
        for row in ROWS.iter().filter(|row| sensitivity(row).is_some()) {
            let fence = row.name.starts_with("sfence") || row.name.starts_with("sinval");
            assert!(fence || own.iter().any(|name| row.name.starts_with(name)), "{}", row.name);
        }
    }
}

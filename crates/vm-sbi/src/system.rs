//! Hart states, system reset and system suspend (SBI specification, chapters "Hart State Management
//! Extension", "System Reset Extension", "System Suspend Extension").

use crate::error::{Answer, SbiError};
use crate::firmware::{After, Outcome, can_enter};
use crate::hsm::{Entry, HartState};
use crate::{Platform, Sbi};
use isa_riscv::Hart;

/// A system reset type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Power off.
    Shutdown,
    /// Power cycle of the entire system.
    ColdReboot,
    /// Power cycle of the processor and parts of the system.
    WarmReboot,
}

/// A system reset reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// None is given.
    None,
    /// System failure.
    SystemFailure,
}

/// `suspend_type`: default retentive suspend.
const RETENTIVE: u32 = 0;
/// `suspend_type`: default non-retentive suspend.
const NON_RETENTIVE: u32 = 0x8000_0000;
/// `sleep_type`: suspend to RAM.
const SUSPEND_TO_RAM: u32 = 0;

/// `sbi_system_reset`. Both parameters are 32 bits wide; the rest of the registers does not count.
pub(crate) fn reset(kind: u64, reason: u64) -> Outcome {
    let kind = match kind as u32 {
        0 => ResetKind::Shutdown,
        1 => ResetKind::ColdReboot,
        2 => ResetKind::WarmReboot,
        _ => return Outcome::Return(Err(SbiError::InvalidParam)),
    };
    let reason = match reason as u32 {
        0 => ResetReason::None,
        1 => ResetReason::SystemFailure,
        _ => return Outcome::Return(Err(SbiError::InvalidParam)),
    };
    Outcome::Gone(After::Reset { kind, reason })
}

impl Sbi {
    pub(crate) fn hart_start<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        hartid: u64,
        address: u64,
        opaque: u64,
    ) -> Answer {
        let target = self.served.existing(hartid).ok_or(SbiError::InvalidParam)?;
        let per_hart = self.harts.get(target as usize).ok_or(SbiError::InvalidParam)?;
        can_enter(hart, platform, address)?;
        per_hart.hsm.start(Entry { address, opaque })?;
        platform.wake(target);
        Ok(0)
    }

    pub(crate) fn hart_status(&self, hartid: u64) -> Answer {
        let state = self.served.existing(hartid).and_then(|hart| self.state(hart));
        state.map(|state| state as u64).ok_or(SbiError::InvalidParam)
    }

    pub(crate) fn hart_stop<P: Platform>(&self, hart: &Hart, platform: &mut P) -> Outcome {
        match self.own(hart).and_then(|own| own.hsm.stop()) {
            Ok(()) => {
                // None may be waiting when the hart is started again.
                platform.clear_ipi();
                Outcome::Gone(After::Stop)
            }
            Err(error) => Outcome::Return(Err(error)),
        }
    }

    pub(crate) fn hart_suspend<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        kind: u64,
        address: u64,
        opaque: u64,
    ) -> Outcome {
        let suspended = match kind as u32 {
            RETENTIVE => self.own(hart).and_then(|own| own.hsm.suspend(None)).map(|()| Outcome::Suspended),
            NON_RETENTIVE => can_enter(hart, platform, address)
                .and_then(|()| self.own(hart)?.hsm.suspend(Some(Entry { address, opaque })))
                .map(|()| Outcome::Gone(After::Suspend { system: false })),
            _ => Err(SbiError::InvalidParam),
        };
        suspended.unwrap_or_else(|error| Outcome::Return(Err(error)))
    }

    pub(crate) fn system_suspend<P: Platform>(
        &self,
        hart: &Hart,
        platform: &mut P,
        kind: u64,
        address: u64,
        opaque: u64,
    ) -> Outcome {
        let suspend = || {
            if kind as u32 != SUSPEND_TO_RAM {
                return Err(SbiError::InvalidParam);
            }
            can_enter(hart, platform, address)?;
            // No other hart can start one meanwhile: this one alone is executing, if all others are
            // stopped.
            let stopped =
                |id: u32| u64::from(id) == hart.hartid || self.state(id) == Some(HartState::Stopped);
            if !(0..self.count()).all(stopped) {
                return Err(SbiError::Denied);
            }
            self.own(hart)?.hsm.suspend(Some(Entry { address, opaque }))
        };
        match suspend() {
            Ok(()) => Outcome::Gone(After::Suspend { system: true }),
            Err(error) => Outcome::Return(Err(error)),
        }
    }
}

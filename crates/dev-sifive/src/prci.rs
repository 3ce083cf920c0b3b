//! PRCI: the power, reset, clocking and interrupt block of SiFive's FU540-C000, as far as software sees
//! it: oscillator, three PLLs, clock selection, resets of peripherals.
//!
//! Source: SiFive FU540-C000 Manual, chapter "Clocking and Reset"; for `clkmuxstatusreg`, which it
//! names without its fields, the FU540 driver of Linux (`drivers/clk/sifive/fu540-prci.c`).
//!
//! Nothing here changes how fast the machine is. A PLL's lock bit is always set, and the oscillator is
//! ready while it is enabled.

use dev_core::{Device, NoRegister, RestoreError, registers};
use fabric_clock::Nanos;

// ---- registers ----

registers! {
    /// Offsets from the base address (PRCI memory map).
    pub enum Reg {
        0x00 HfxOscCfg RW { hfxoscen: 30..30, hfxoscrdy: 31..31 }
        0x04 CorePllCfg0 RW { divr: 5..0, divf: 14..6, divq: 17..15, range: 20..18, bypass: 24..24, fse: 25..25, lock: 31..31 }
        0x0c DdrPllCfg0 RW { divr: 5..0, divf: 14..6, divq: 17..15, range: 20..18, bypass: 24..24, fse: 25..25, lock: 31..31 }
        0x10 DdrPllCfg1 RW { cke: 31..31 }
        0x1c GemgxlPllCfg0 RW { divr: 5..0, divf: 14..6, divq: 17..15, range: 20..18, bypass: 24..24, fse: 25..25, lock: 31..31 }
        0x20 GemgxlPllCfg1 RW { cke: 31..31 }
        0x24 CoreClkSel RW { coreclksel: 0..0 }
        0x28 DevicesReset RW { ddr_ctrl_rst_n: 0..0, ddr_axi_rst_n: 1..1, ddr_ahb_rst_n: 2..2, ddr_phy_rst_n: 3..3, gemgxl_rst_n: 5..5 }
        0x2c ClkMuxStatus RO { coreclkpllsel: 0..0, tlclksel: 1..1 }
    }
}

/// Bytes of the block; what has no register reads as zero.
const WINDOW: u64 = 0x1000;

/// A PLL that nobody has set: divr 1, divf 31, divq 3, range 0, bypassed, internal feedback ("Setting coreclk frequency").
const PLL_RESET: u32 = 1 | 31 << 6 | 3 << 15 | 1 << 24 | 1 << 25;
/// The core PLL as the first-stage boot loader sets it: the 33.3 MHz crystal times 2 · (59 + 1), by 2², is
/// 1 GHz; divr 0, range 4, internal feedback.
const PLL_1_GHZ: u32 = 59 << 6 | 2 << 15 | 4 << 18 | 1 << 25;
/// Bits of a PLL's register that software writes.
const PLL_WRITABLE: u64 = CorePllCfg0::FIELDS & !CorePllCfg0::mask::lock;

// ---- state ----

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    hfxoscen: bool,
    core_pll: u32,
    ddr_pll: u32,
    ddr_cke: bool,
    gemgxl_pll: u32,
    gemgxl_cke: bool,
    /// The cores run at the crystal's frequency, not at the core PLL's.
    coreclksel: bool,
    resets: u32,
}

impl State {
    /// As the first-stage boot loader leaves it, for a machine that starts behind one: cores at the core
    /// PLL's 1 GHz, the memory controller out of reset.
    const BOOTED: State = State {
        hfxoscen: true,
        core_pll: PLL_1_GHZ,
        ddr_pll: PLL_RESET,
        ddr_cke: true,
        gemgxl_pll: PLL_RESET,
        gemgxl_cke: false,
        coreclksel: false,
        resets: 0b1111,
    };
}

/// The block.
#[derive(Debug)]
pub struct Prci {
    state: State,
}

// ---- host side ----

impl Prci {
    /// A block as the first-stage boot loader leaves it; also after a reset of the machine, which runs
    /// through the loader again.
    pub fn new() -> Self {
        Prci { state: State::BOOTED }
    }
}

impl Default for Prci {
    fn default() -> Self {
        Prci::new()
    }
}

/// A PLL's register as it reads: locked.
fn locked(pll: u32) -> u64 {
    u64::from(pll) | CorePllCfg0::mask::lock
}

impl Device for Prci {
    const NAME: &'static str = "fu540-prci";
    const VERSION: u32 = 1;
    type Saved = saved::PrciV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if size != 4 || offset >= WINDOW {
            return Err(NoRegister);
        }
        let s = &self.state;
        Ok(match Reg::at(offset) {
            Some(Reg::HfxOscCfg) if s.hfxoscen => HfxOscCfg::FIELDS,
            Some(Reg::CorePllCfg0) => locked(s.core_pll),
            Some(Reg::DdrPllCfg0) => locked(s.ddr_pll),
            Some(Reg::DdrPllCfg1) => u64::from(s.ddr_cke) << 31,
            Some(Reg::GemgxlPllCfg0) => locked(s.gemgxl_pll),
            Some(Reg::GemgxlPllCfg1) => u64::from(s.gemgxl_cke) << 31,
            Some(Reg::CoreClkSel) => u64::from(s.coreclksel),
            Some(Reg::DevicesReset) => u64::from(s.resets),
            // TLCLK is half of the cores' clock, as its status bit 0 says.
            Some(Reg::ClkMuxStatus) => u64::from(s.coreclksel),
            Some(Reg::HfxOscCfg) | None => 0,
        })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if size != 4 || offset >= WINDOW {
            return Err(NoRegister);
        }
        let s = &mut self.state;
        let pll = (value & PLL_WRITABLE) as u32;
        let cke = DdrPllCfg1::cke(value) != 0;
        match Reg::at(offset) {
            Some(Reg::HfxOscCfg) => s.hfxoscen = HfxOscCfg::hfxoscen(value) != 0,
            Some(Reg::CorePllCfg0) => s.core_pll = pll,
            Some(Reg::DdrPllCfg0) => s.ddr_pll = pll,
            Some(Reg::DdrPllCfg1) => s.ddr_cke = cke,
            Some(Reg::GemgxlPllCfg0) => s.gemgxl_pll = pll,
            Some(Reg::GemgxlPllCfg1) => s.gemgxl_cke = cke,
            Some(Reg::CoreClkSel) => s.coreclksel = CoreClkSel::coreclksel(value) != 0,
            Some(Reg::DevicesReset) => s.resets = (value & DevicesReset::FIELDS) as u32,
            Some(Reg::ClkMuxStatus) | None => {}
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        0
    }

    fn outputs(&self) -> usize {
        0
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = State::BOOTED;
    }

    fn save(&self) -> Self::Saved {
        saved::from_state(&self.state)
    }

    fn restore(&mut self, saved: Self::Saved) -> Result<(), RestoreError> {
        self.state = saved::into_state(saved).ok_or(RestoreError::Damaged { device: Self::NAME })?;
        Ok(())
    }
}

/// Saved state.
pub mod saved {
    use super::{DevicesReset, PLL_WRITABLE, State};
    use serde::{Deserialize, Serialize};

    /// Version 1; fields are numbered by their order.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[allow(missing_docs, reason = "the fields are those of the state")]
    pub struct PrciV1 {
        pub hfxoscen: bool,
        /// Core, DDR and GEMGXL PLL, without their lock bits.
        pub plls: [u32; 3],
        /// Whether the outputs of the DDR and the GEMGXL PLL are on.
        pub cke: [bool; 2],
        pub coreclksel: bool,
        pub resets: u32,
    }

    pub(super) fn from_state(state: &State) -> PrciV1 {
        let State { hfxoscen, core_pll, ddr_pll, ddr_cke, gemgxl_pll, gemgxl_cke, coreclksel, resets } =
            *state;
        let plls = [core_pll, ddr_pll, gemgxl_pll];
        PrciV1 { hfxoscen, plls, cke: [ddr_cke, gemgxl_cke], coreclksel, resets }
    }

    /// `None` if the block could not be in such a state.
    pub(super) fn into_state(saved: PrciV1) -> Option<State> {
        let PrciV1 { hfxoscen, plls, cke, coreclksel, resets } = saved;
        let ([core_pll, ddr_pll, gemgxl_pll], [ddr_cke, gemgxl_cke]) = (plls, cke);
        let foreign = u64::from(core_pll | ddr_pll | gemgxl_pll) & !PLL_WRITABLE
            | u64::from(resets) & !DevicesReset::FIELDS;
        (foreign == 0).then_some(State {
            hfxoscen,
            core_pll,
            ddr_pll,
            ddr_cke,
            gemgxl_pll,
            gemgxl_cke,
            coreclksel,
            resets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(d: &mut Prci, register: Reg) -> u64 {
        d.read(register as u64, 4, 0).unwrap()
    }

    #[test]
    fn the_loader_leaves_the_other_plls_as_reset_has_them() {
        let mut d = Prci::new();
        assert_eq!(r(&mut d, Reg::HfxOscCfg), 0xc000_0000);
        for register in [Reg::DdrPllCfg0, Reg::GemgxlPllCfg0] {
            let pll = r(&mut d, register);
            assert_eq!((CorePllCfg0::divr(pll), CorePllCfg0::divf(pll), CorePllCfg0::divq(pll)), (1, 31, 3));
            assert_eq!((CorePllCfg0::bypass(pll), CorePllCfg0::fse(pll), CorePllCfg0::lock(pll)), (1, 1, 1));
        }
        assert_eq!((r(&mut d, Reg::DevicesReset), r(&mut d, Reg::GemgxlPllCfg1)), (0x0f, 0));
        assert_eq!(r(&mut d, Reg::DdrPllCfg1), 1 << 31);
    }

    /// The driver's arithmetic: crystal · 2 · (divf + 1) / (divr + 1) / 2^divq, by 2 for TLCLK.
    #[test]
    fn behind_the_boot_loader_the_peripherals_clock_is_500_mhz() {
        let mut d = Prci::new();
        let pll = r(&mut d, Reg::CorePllCfg0);
        let hz = 33_333_333 * 2 * (CorePllCfg0::divf(pll) + 1) / (CorePllCfg0::divr(pll) + 1);
        assert_eq!((hz >> CorePllCfg0::divq(pll)) / 2, 499_999_995);
        assert_eq!((CorePllCfg0::bypass(pll), r(&mut d, Reg::CoreClkSel)), (0, 0));
        assert_eq!(ClkMuxStatus::tlclksel(r(&mut d, Reg::ClkMuxStatus)), 0);
    }

    #[test]
    fn a_pll_keeps_its_fields_and_is_always_locked() {
        let mut d = Prci::new();
        d.write(4, 4, 0xffff_ffff, 0).unwrap();
        assert_eq!(r(&mut d, Reg::CorePllCfg0), 0x831f_ffff);
        d.write(4, 4, 0, 0).unwrap();
        assert_eq!(r(&mut d, Reg::CorePllCfg0), 0x8000_0000);
    }

    #[test]
    fn the_oscillator_is_ready_while_it_is_enabled() {
        let mut d = Prci::new();
        d.write(0, 4, 0, 0).unwrap();
        assert_eq!(r(&mut d, Reg::HfxOscCfg), 0);
        d.write(0, 4, 1 << 30, 0).unwrap();
        assert_eq!(r(&mut d, Reg::HfxOscCfg), 0xc000_0000);
    }

    #[test]
    fn other_registers_keep_their_fields_and_status_cannot_be_written() {
        let mut d = Prci::new();
        for (register, expected) in [
            (Reg::DdrPllCfg1, 1 << 31),
            (Reg::GemgxlPllCfg1, 1 << 31),
            (Reg::CoreClkSel, 1),
            (Reg::DevicesReset, 0x2f),
            (Reg::ClkMuxStatus, 1),
        ] {
            d.write(register as u64, 4, 0xffff_ffff, 0).unwrap();
            assert_eq!(r(&mut d, register), expected, "{register:?}");
        }
        d.reset(0);
        assert_eq!(r(&mut d, Reg::DevicesReset), 0x0f);
    }

    #[test]
    fn the_rest_of_the_block_reads_as_zero_word_by_word() {
        let mut d = Prci::new();
        assert_eq!(d.read(0x30, 4, 0), Ok(0));
        assert_eq!(d.write(0xffc, 4, 1, 0), Ok(()));
        for (offset, size) in [(0, 1), (0, 8), (0x1000, 4)] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
            assert_eq!(d.write(offset, size, 0, 0), Err(NoRegister));
        }
    }
}

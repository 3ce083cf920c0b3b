//! The registers at work.

use crate::counters::{Counters, Lost};
use crate::filter::Filter;
use crate::phy::Phy;
use crate::registers::{
    DESIGN, DmaConfig, JUMBO, NetworkConfig, NetworkControl, PhyManagement, REVISION, ReceiveStatus, Reg,
    TransmitStatus, interrupt, writable,
};
use crate::saved::{self, GemV1};
use dev_core::{Device, NoRegister, RestoreError};
use fabric_clock::Nanos;

/// Words of registers that keep what is written: those of the GEM, up to 0x4d8, and one of the management block.
pub(crate) const WORDS: usize = 0x4d8 / 4 + 1;
/// How long until a card that has found no buffer looks again by itself.
const LOOK_AGAIN: Nanos = 1_000_000;
/// man_done.
const MAN_DONE: u32 = 1 << 2;
/// Bits of a receive status, or a transmit status, that writing ones clears.
const CLEARED_BY_ONES: u32 = 0x1f7;

/// What changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// By offset over four; the last is the management block's.
    pub registers: Vec<u32>,
    pub counters: Counters,
    pub phy: Phy,
    /// Interrupts that have come, and those that do not come.
    pub status: u32,
    pub mask: u32,
    /// Where in the rings it is: the low words of addresses.
    pub transmit_at: u32,
    pub receive_at: u32,
    /// Whether frames are being sent.
    pub going: bool,
    /// Which specific addresses are in use: their bottom was written last, or their top.
    pub active: [bool; 4],
}

/// Where a ring's descriptors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingPlan {
    /// High half of all their addresses.
    pub high: u32,
    /// Low half of the address of the first, and of the next one.
    pub base: u32,
    pub at: u32,
    /// Descriptors have addresses of 64 bits.
    pub wide: bool,
    /// Which of the rings that there were this is.
    pub epoch: u64,
}

/// How the next frame is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransmitPlan {
    pub ring: RingPlan,
    /// Checksums are made.
    pub checksums: bool,
    /// It comes back.
    pub loops: bool,
    /// How often sending was started.
    pub starts: u64,
}

/// How the next frame is received.
#[derive(Clone, Debug)]
pub(crate) struct ReceivePlan {
    pub ring: RingPlan,
    /// Bytes of a buffer.
    pub buffer: usize,
    /// Bytes left out at the beginning of a frame's first buffer.
    pub offset: usize,
    pub filter: Filter,
    /// Bytes of the longest frame, with its check sequence.
    pub longest: usize,
    /// Without its check sequence.
    pub strip: bool,
    /// Checksums are checked.
    pub checksums: bool,
    /// Length fields are checked.
    pub lengths: bool,
}

/// The card.
#[derive(Debug)]
pub struct Gem {
    pub(crate) state: State,
    /// Whether there is another end of the cable.
    cable: bool,
    /// There may be something to do.
    news: bool,
    /// When it looks again for a buffer.
    starved: Option<Nanos>,
    epochs: [u64; 2],
    /// How often sending was started.
    starts: u64,
}

impl Default for Gem {
    fn default() -> Self {
        Gem { state: Gem::power_on(), cable: false, news: false, starved: None, epochs: [0; 2], starts: 0 }
    }
}

impl Gem {
    fn power_on() -> State {
        let mut state = State {
            registers: vec![0; WORDS],
            counters: Counters::NEW,
            phy: Phy::NEW,
            status: 0,
            mask: interrupt::ALL,
            transmit_at: 0,
            receive_at: 0,
            going: false,
            active: [false; 4],
        };
        for (register, value) in [
            (Reg::NetworkConfig, 0x0008_0000),
            (Reg::DmaConfig, 0x0002_0784),
            (Reg::TxPauseQuantum, 0xffff),
            (Reg::PbufTxCutthru, 0x3ff),
            (Reg::PbufRxCutthru, 0x3ff),
            (Reg::JumboMaxLength, JUMBO),
        ] {
            if let Some(place) = state.registers.get_mut(register as usize / 4) {
                *place = value;
            }
        }
        state
    }

    fn word(offset: u64) -> usize {
        if offset == Reg::TxClkSel as u64 { WORDS - 1 } else { offset as usize / 4 }
    }

    fn get_at(&self, offset: u64) -> u32 {
        self.state.registers.get(Gem::word(offset)).copied().unwrap_or(0)
    }

    pub(crate) fn get(&self, register: Reg) -> u32 {
        self.get_at(register as u64)
    }

    fn set_at(&mut self, offset: u64, value: u32) {
        if let Some(place) = self.state.registers.get_mut(Gem::word(offset)) {
            *place = value;
        }
    }

    fn set(&mut self, register: Reg, value: u32) {
        self.set_at(register as u64, value);
    }

    /// Interrupts that are masked do not come later either.
    pub(crate) fn raise(&mut self, bits: u32) {
        self.state.status |= bits & !self.state.mask;
    }

    fn has(&self, register: Reg, bit: u64) -> bool {
        u64::from(self.get(register)) & bit != 0
    }

    /// The cable was put in, or pulled out.
    pub fn set_cable(&mut self, cable: bool) {
        self.cable = cable;
    }

    /// Whether there may be something to do, asked once.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    fn ring(&self, at: u32, base: Reg, high: Reg, epoch: usize) -> RingPlan {
        let wide = self.has(Reg::DmaConfig, DmaConfig::mask::dma_addr_bus_width);
        RingPlan {
            high: if wide { self.get(high) } else { 0 },
            base: self.get(base),
            at,
            wide,
            epoch: self.epochs.get(epoch).copied().unwrap_or(0),
        }
    }

    /// How the next frame is sent, if one may be.
    pub(crate) fn transmit_plan(&self) -> Option<TransmitPlan> {
        let enabled = self.has(Reg::NetworkControl, NetworkControl::mask::enable_transmit);
        (enabled && self.state.going).then(|| TransmitPlan {
            ring: self.ring(self.state.transmit_at, Reg::TransmitQPtr, Reg::UpperTxQBase, 0),
            checksums: self.has(Reg::DmaConfig, DmaConfig::mask::tx_pbuf_tcp_en),
            loops: self.has(Reg::NetworkControl, NetworkControl::mask::loopback_local),
            starts: self.starts,
        })
    }

    /// How the next frame is received, if one may be.
    pub(crate) fn receive_plan(&self) -> Option<ReceivePlan> {
        let config = u64::from(self.get(Reg::NetworkConfig));
        let is = |bit| config & bit != 0;
        use NetworkConfig::mask;
        let longest = match (is(mask::jumbo_frames), is(mask::receive_1536_byte_frames)) {
            (true, _) => self.get(Reg::JumboMaxLength) as usize,
            (false, true) => 1536,
            (false, false) => 1518,
        };
        self.has(Reg::NetworkControl, NetworkControl::mask::enable_receive).then(|| ReceivePlan {
            ring: self.ring(self.state.receive_at, Reg::ReceiveQPtr, Reg::UpperRxQBase, 1),
            buffer: DmaConfig::rx_buf_size(self.get(Reg::DmaConfig).into()) as usize * 64,
            offset: NetworkConfig::receive_buffer_offset(config) as usize,
            filter: self.filter(config),
            longest,
            strip: is(mask::fcs_remove),
            checksums: is(mask::receive_checksum_offload_enable),
            lengths: is(mask::length_field_error_frame_discard),
        })
    }

    fn filter(&self, config: u64) -> Filter {
        use NetworkConfig::mask;
        let is = |bit| config & bit != 0;
        let mut addresses = [None; 4];
        for ((at, place), active) in (0_u64..).zip(&mut addresses).zip(self.state.active) {
            let bottom = self.get_at(Reg::SpecAddBottom as u64 + 8 * at).to_le_bytes();
            let [e, f, ..] = self.get_at(Reg::SpecAddTop as u64 + 8 * at).to_le_bytes();
            let [a, b, c, d] = bottom;
            *place = active.then_some([a, b, c, d, e, f]);
        }
        Filter {
            all: is(mask::copy_all_frames),
            no_broadcast: is(mask::no_broadcast),
            multicast_hash: is(mask::multicast_hash_enable),
            unicast_hash: is(mask::unicast_hash_enable),
            hashes: u64::from(self.get(Reg::HashTop)) << 32 | u64::from(self.get(Reg::HashBottom)),
            addresses,
        }
    }

    fn tell(&mut self, register: Reg, bits: u64) {
        let value = self.get(register) | bits as u32;
        self.set(register, value);
    }

    /// A frame to `destination`, of `len` bytes in all, was sent from the ring of `epoch`, whose next descriptor is at `next`.
    pub(crate) fn sent(&mut self, epoch: u64, next: u32, destination: &[u8], len: usize) {
        self.state.counters.sent(destination, len);
        self.tell(Reg::TransmitStatus, TransmitStatus::mask::transmit_complete);
        self.raise(interrupt::TRANSMIT_COMPLETE);
        if self.epochs.first() == Some(&epoch) {
            self.state.transmit_at = next;
        }
    }

    /// Nothing is left to send, unless it was started again while somebody looked.
    pub(crate) fn sent_all(&mut self, plan: &TransmitPlan) {
        if self.epochs.first() == Some(&plan.ring.epoch) && self.starts == plan.starts {
            self.state.going = false;
            self.tell(Reg::TransmitStatus, TransmitStatus::mask::used_bit_read);
            self.raise(interrupt::TX_USED_BIT_READ);
        }
    }

    /// A ring or a frame to be sent is none: it stops until it is started again.
    pub(crate) fn transmit_broken(&mut self, epoch: u64) {
        if self.epochs.first() == Some(&epoch) {
            self.state.going = false;
            self.tell(
                Reg::TransmitStatus,
                TransmitStatus::mask::amba_error | TransmitStatus::mask::resp_not_ok,
            );
            self.raise(interrupt::AMBA_ERROR | interrupt::RESP_NOT_OK);
        }
    }

    /// The same of a frame that was received.
    pub(crate) fn received(&mut self, epoch: u64, next: u32, destination: &[u8], len: usize) {
        self.state.counters.received(destination, len);
        self.tell(Reg::ReceiveStatus, ReceiveStatus::mask::frame_received);
        self.raise(interrupt::RECEIVE_COMPLETE);
        self.starved = None;
        if self.epochs.get(1) == Some(&epoch) {
            self.state.receive_at = next;
        }
    }

    /// A frame was not received.
    pub(crate) fn lost(&mut self, why: Lost) {
        self.state.counters.lost(why);
    }

    /// A frame finds no buffer: it waits a while.
    pub(crate) fn no_buffer(&mut self, now: Nanos) {
        if self.starved.is_none() {
            self.state.counters.no_buffer();
            self.tell(Reg::ReceiveStatus, ReceiveStatus::mask::buffer_not_available);
            self.raise(interrupt::RX_USED_BIT_READ);
        }
        self.starved = Some(now.saturating_add(LOOK_AGAIN));
    }

    /// Whether a frame waits for a buffer.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.is_some()
    }

    /// A ring or a buffer to receive into is none; the frame is lost.
    pub(crate) fn receive_broken(&mut self) {
        self.state.counters.no_buffer();
        self.tell(Reg::ReceiveStatus, ReceiveStatus::mask::resp_not_ok);
        self.raise(interrupt::RESP_NOT_OK);
    }

    fn control(&mut self, value: u32) {
        use NetworkControl::mask;
        let is = |bit: u64| u64::from(value) & bit != 0;
        self.set(Reg::NetworkControl, value & writable(Reg::NetworkControl));
        if is(mask::clear_all_stats_regs) {
            self.state.counters = Counters::NEW;
        }
        if is(mask::inc_all_stats_regs) {
            self.state.counters.increment();
        }
        if !is(mask::enable_transmit) {
            // The pointer goes back to where the ring begins.
            self.state.going = false;
            self.begin(Reg::TransmitQPtr);
        } else if is(mask::tx_halt_pclk) {
            self.state.going = false;
        } else if is(mask::tx_start_pclk) {
            self.state.going = true;
            self.starts += 1;
        }
        self.news = true;
    }

    /// A ring is begun from its beginning.
    fn begin(&mut self, register: Reg) {
        let base = self.get(register);
        let (at, epoch) = match register {
            Reg::TransmitQPtr => (&mut self.state.transmit_at, 0),
            _ => (&mut self.state.receive_at, 1),
        };
        *at = base;
        if let Some(epoch) = self.epochs.get_mut(epoch) {
            *epoch += 1;
        }
    }

    /// Reads or writes the PHY.
    fn manage(&mut self, value: u32) {
        let word = u64::from(value);
        let register = PhyManagement::register_address(word) as u8;
        // A frame of clause 45, or for another PHY, is not answered.
        let ours = PhyManagement::clause_22(word) == 1 && PhyManagement::phy_address(word) == 0;
        let data = match PhyManagement::operation(word) {
            2 if ours => self.state.phy.read(register, self.cable),
            1 => {
                if ours {
                    self.state.phy.write(register, word as u16);
                }
                word as u16
            }
            _ => 0xffff,
        };
        if self.has(Reg::NetworkControl, NetworkControl::mask::man_port_en) {
            self.set(Reg::PhyManagement, value & 0xffff_0000 | u32::from(data));
            self.raise(interrupt::MANAGEMENT_DONE);
        }
    }

    fn read_register(&mut self, register: Reg, index: u64, offset: u64) -> u32 {
        let going = if self.state.going { TransmitStatus::mask::transmit_go as u32 } else { 0 };
        match register {
            Reg::NetworkStatus => MAN_DONE,
            Reg::TransmitStatus => self.get(register) | going,
            Reg::ReceiveQPtr => self.state.receive_at,
            Reg::TransmitQPtr => self.state.transmit_at,
            Reg::IntStatus => std::mem::take(&mut self.state.status),
            Reg::IntMask => self.state.mask,
            Reg::RevisionReg => REVISION,
            Reg::Counter => self.state.counters.take(index as usize),
            Reg::DesignCfgDebug => DESIGN.get(index as usize).copied().unwrap_or(0),
            // What the PHY has negotiated: 1000 Mbit/s.
            Reg::ControlStatusSpeedMode => 2,
            _ => self.get_at(offset),
        }
    }

    fn write_register(&mut self, register: Reg, index: u64, offset: u64, value: u32) {
        let kept = value & writable(register);
        match register {
            Reg::NetworkControl => self.control(value),
            Reg::TransmitStatus | Reg::ReceiveStatus => {
                let left = self.get(register) & !(value & CLEARED_BY_ONES);
                self.set(register, left);
            }
            Reg::IntEnable => {
                self.state.mask &= !value;
                // Behind this, drivers have given new buffers.
                self.news |= self.starved.is_some();
            }
            Reg::IntDisable => self.state.mask |= value & interrupt::ALL,
            Reg::PhyManagement => self.manage(value),
            Reg::ReceiveQPtr if self.has(Reg::NetworkControl, NetworkControl::mask::enable_receive) => {}
            Reg::TransmitQPtr if self.state.going => {}
            Reg::ReceiveQPtr | Reg::TransmitQPtr => {
                self.set(register, kept);
                self.begin(register);
            }
            Reg::SpecAddBottom | Reg::SpecAddTop => {
                self.set_at(offset, kept);
                if let Some(active) = self.state.active.get_mut(index as usize) {
                    *active = register == Reg::SpecAddTop;
                }
            }
            Reg::Counter if self.has(Reg::NetworkControl, NetworkControl::mask::stats_write_en) => {
                self.state.counters.set(index as usize, value);
            }
            _ if writable(register) != 0 => self.set_at(offset, kept),
            _ => {}
        }
    }
}

/// The register at an offset, if there is one: which of an array.
fn register_at(offset: u64) -> Option<(Reg, u64)> {
    Reg::nearest(offset).and_then(|(register, index, byte)| (byte == 0).then_some((register, index)))
}

impl Device for Gem {
    const NAME: &'static str = "cadence-gem";
    const VERSION: u32 = 1;
    type Saved = GemV1;

    fn read(&mut self, offset: u64, size: u8, _now: Nanos) -> Result<u64, NoRegister> {
        if size != 4 || !offset.is_multiple_of(4) {
            return Err(NoRegister);
        }
        // Where there is no register, the peripheral bus reads zeroes.
        let value = register_at(offset).map_or(0, |(reg, index)| self.read_register(reg, index, offset));
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, size: u8, value: u64, _now: Nanos) -> Result<(), NoRegister> {
        if size != 4 || !offset.is_multiple_of(4) {
            return Err(NoRegister);
        }
        if let Some((register, index)) = register_at(offset) {
            self.write_register(register, index, offset, value as u32);
        }
        Ok(())
    }

    fn lines(&self, _word: usize, _now: Nanos) -> u64 {
        u64::from(self.state.status != 0)
    }

    fn outputs(&self) -> usize {
        1
    }

    fn deadline(&self, _now: Nanos) -> Option<Nanos> {
        self.starved
    }

    fn tick(&mut self, now: Nanos) {
        // Whoever looks, and finds none, says when to look again.
        if self.starved.is_some_and(|at| at <= now) {
            self.starved = None;
            self.news = true;
        }
    }

    fn wants_host(&self) -> bool {
        self.news
    }

    fn reset(&mut self, _now: Nanos) {
        self.state = Gem::power_on();
        (self.starved, self.news) = (None, true);
        self.epochs = self.epochs.map(|epoch| epoch + 1);
    }

    fn save(&self) -> GemV1 {
        saved::from_state(&self.state, self.starved)
    }

    fn restore(&mut self, saved: GemV1) -> Result<(), RestoreError> {
        let (state, starved) =
            saved::into_state(saved).ok_or(RestoreError::Damaged { device: Self::NAME })?;
        (self.state, self.starved, self.news) = (state, starved, true);
        self.epochs = self.epochs.map(|epoch| epoch + 1);
        Ok(())
    }
}

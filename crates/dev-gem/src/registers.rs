//! The registers, and what can be written of them (UG1087, module GEM).

use dev_core::registers;

/// Where the management block's registers begin; what is below are the GEM's own.
pub const MANAGEMENT: u64 = 0x2000;

registers! {
    /// Offsets from the base address.
    pub enum Reg {
        0x000 NetworkControl RW {
            loopback_local: 1..1, enable_receive: 2..2, enable_transmit: 3..3, man_port_en: 4..4, clear_all_stats_regs: 5..5,
            inc_all_stats_regs: 6..6, stats_write_en: 7..7, tx_start_pclk: 9..9, tx_halt_pclk: 10..10,
        }
        0x004 NetworkConfig RW {
            jumbo_frames: 3..3, copy_all_frames: 4..4, no_broadcast: 5..5, multicast_hash_enable: 6..6,
            unicast_hash_enable: 7..7, receive_1536_byte_frames: 8..8, receive_buffer_offset: 15..14,
            length_field_error_frame_discard: 16..16, fcs_remove: 17..17, receive_checksum_offload_enable: 24..24,
        }
        0x008 NetworkStatus RO { pcs_link_state: 0..0, mdio_in: 1..1, man_done: 2..2 }
        0x00c UserIo RW {}
        0x010 DmaConfig RW { tx_pbuf_tcp_en: 11..11, rx_buf_size: 23..16, dma_addr_bus_width: 30..30 }
        0x014 TransmitStatus RW {
            used_bit_read: 0..0, transmit_go: 3..3, amba_error: 4..4, transmit_complete: 5..5, resp_not_ok: 8..8,
        }
        0x018 ReceiveQPtr RW {}
        0x01c TransmitQPtr RW {}
        0x020 ReceiveStatus RW { buffer_not_available: 0..0, frame_received: 1..1, receive_overrun: 2..2, resp_not_ok: 3..3 }
        0x024 IntStatus RO {}
        0x028 IntEnable WO {}
        0x02c IntDisable WO {}
        0x030 IntMask RO {}
        0x034 PhyManagement RW {
            data: 15..0, register_address: 22..18, phy_address: 27..23, operation: 29..28, clause_22: 31..30,
        }
        0x038 PauseTime RO {}
        0x03c TxPauseQuantum RW {}
        0x040 PbufTxCutthru RW {}
        0x044 PbufRxCutthru RW {}
        0x048 JumboMaxLength RW { length: 13..0 }
        0x080 HashBottom RW {}
        0x084 HashTop RW {}
        0x088 SpecAddBottom[4; 8] RW {}
        0x08c SpecAddTop[4; 8] RW { address: 15..0 }
        0x0a8 SpecType[4; 4] RW {}
        0x0b8 WolRegister RW {}
        0x0bc StretchRatio RW {}
        0x0c0 StackedVlan RW {}
        0x0fc RevisionReg RO {}
        0x100 Counter[45; 4] RW {}
        0x280 DesignCfgDebug[10; 4] RO {}
        0x4c8 UpperTxQBase RW {}
        0x4cc TxBdControl RW {}
        0x4d0 RxBdControl RW {}
        0x4d4 UpperRxQBase RW {}
        0x2000 TxClkSel RW { sel: 0..0 }
        0x2020 ControlStatusSpeedMode RO { speed_mode: 1..0 }
    }
}

/// Interrupts: bits of int_status, int_enable, int_disable and int_mask.
pub mod interrupt {
    /// The PHY was read or written.
    pub const MANAGEMENT_DONE: u32 = 1;
    /// A frame was received.
    pub const RECEIVE_COMPLETE: u32 = 1 << 1;
    /// There is no buffer for a frame.
    pub const RX_USED_BIT_READ: u32 = 1 << 2;
    /// There is no more to send.
    pub const TX_USED_BIT_READ: u32 = 1 << 3;
    /// Memory that is not there, in the middle of a frame that is sent.
    pub const AMBA_ERROR: u32 = 1 << 6;
    /// A frame was sent.
    pub const TRANSMIT_COMPLETE: u32 = 1 << 7;
    /// Memory that is not there.
    pub const RESP_NOT_OK: u32 = 1 << 11;
    /// All there are.
    pub const ALL: u32 = 0x07ff_ffff;
}

/// revision_reg: a GEM_GXL, of the revision that QEMU's board has.
pub const REVISION: u32 = 0x1007_0109;
/// Longest frame, once jumbo frames are enabled, after a reset.
pub const JUMBO: u32 = 10_240;

/// The design configuration: no PCS, int_status is cleared by reading, 32 bits of data bus, packet buffers both ways (which is
/// what checksum offload needs), no time stamps, one queue, addresses of 64 bits.
pub const DESIGN: [u32; 10] = [0x02d0_0111, 0x2ab1_0000 | JUMBO, 0, 0, 0x002f_2045, 1 << 23, 0, 0, 0, 0];

/// What can be written of a register that keeps it.
pub fn writable(register: Reg) -> u32 {
    match register {
        // Not what starts something.
        Reg::NetworkControl => 0xc19f,
        Reg::NetworkConfig => 0x7fff_ffff,
        Reg::UserIo => 0x1f,
        // Time stamps in descriptors are not there.
        Reg::DmaConfig => 0x4fff_0fff,
        Reg::ReceiveQPtr | Reg::TransmitQPtr => 0xffff_fffc,
        Reg::TxPauseQuantum => 0xffff,
        Reg::JumboMaxLength => JumboMaxLength::FIELDS as u32,
        Reg::PbufTxCutthru | Reg::PbufRxCutthru => 0x8000_0fff,
        Reg::HashBottom | Reg::HashTop | Reg::SpecAddBottom | Reg::UpperTxQBase | Reg::UpperRxQBase => {
            u32::MAX
        }
        Reg::SpecAddTop => 0x3f01_ffff,
        Reg::SpecType => 0x8000_ffff,
        Reg::WolRegister => 0x000f_ffff,
        Reg::StretchRatio => 0xffff,
        Reg::StackedVlan => 0x8000_ffff,
        Reg::TxBdControl | Reg::RxBdControl => 0x30,
        Reg::TxClkSel => 1,
        _ => 0,
    }
}

//! The MP table: which processors and interrupt controllers a PC has, for kernels without ACPI.
//!
//! Source: Intel MultiProcessor Specification 1.4, chapter 4. The floating pointer comes first, the configuration table
//! right behind it; all fields are little-endian.

/// Everything to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MpTable {
    /// Who made the machine ("OEM ID"), padded with spaces.
    pub oem: [u8; 8],
    /// Which of theirs it is ("PRODUCT ID"), likewise.
    pub product: [u8; 12],
    /// Processors, with APIC ids from 0 on; the first one boots.
    pub processors: u8,
    /// Address of the I/O APIC, whose id is the first behind the processors'.
    pub ioapic: u32,
    /// Address of the local APICs.
    pub local_apic: u32,
    /// ISA interrupts and the I/O APIC's pins that they reach.
    pub isa: Vec<(u8, u8)>,
}

const POINTER: u64 = 16;
/// Version 1.4.
const VERSION: u8 = 4;
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;
/// Interrupt types: by vector, NMI, by the 8259.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
const ISA_BUS: u8 = 0;
/// All local APICs.
const ALL: u8 = 0xff;

/// The byte that makes the sum 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg()
}

impl MpTable {
    /// The floating pointer for `address` (a multiple of 16) with the table behind it.
    pub fn encode(&self, address: u64) -> Vec<u8> {
        let table = self.table();
        let mut out = b"_MP_".to_vec();
        out.extend((address.wrapping_add(POINTER) as u32).to_le_bytes());
        // One paragraph; no default configuration; virtual wire mode.
        out.extend([1, VERSION, 0, 0, 0, 0, 0, 0]);
        let sum = checksum(&out);
        if let Some(byte) = out.get_mut(10) {
            *byte = sum;
        }
        out.extend(table);
        out
    }

    fn table(&self) -> Vec<u8> {
        let (entries, count) = self.entries();
        let mut out = b"PCMP".to_vec();
        out.extend((44 + entries.len() as u16).to_le_bytes());
        out.extend([VERSION, 0]);
        out.extend(self.oem);
        out.extend(self.product);
        // No OEM table.
        out.extend([0; 6]);
        out.extend(count.to_le_bytes());
        out.extend(self.local_apic.to_le_bytes());
        out.extend([0; 4]);
        out.extend(entries);
        let sum = checksum(&out);
        if let Some(byte) = out.get_mut(7) {
            *byte = sum;
        }
        out
    }

    fn entries(&self) -> (Vec<u8>, u16) {
        let ioapic_id = self.processors;
        let (mut out, mut count) = (Vec::new(), 0);
        let mut entry = |bytes: &[u8]| {
            out.extend(bytes);
            count += 1;
        };
        for id in 0..self.processors {
            let flags = if id == 0 { 3 } else { 1 }; // enabled; the first one boots
            let mut bytes = vec![PROCESSOR, id, 0x14, flags];
            bytes.extend(0x600u32.to_le_bytes());
            bytes.extend(0x201u32.to_le_bytes()); // FPU, APIC
            bytes.extend([0; 8]);
            entry(&bytes);
        }
        entry(&[&[BUS, ISA_BUS][..], b"ISA   "].concat());
        let [a, b, c, d] = self.ioapic.to_le_bytes();
        entry(&[IOAPIC, ioapic_id, 0x11, 1, a, b, c, d]);
        for &(irq, pin) in &self.isa {
            // Polarity and trigger mode as usual on this bus.
            entry(&[INTERRUPT, INT, 0, 0, ISA_BUS, irq, ioapic_id, pin]);
        }
        entry(&[LOCAL_INTERRUPT, EXT_INT, 0, 0, ISA_BUS, 0, 0, 0]);
        entry(&[LOCAL_INTERRUPT, NMI, 0, 0, ISA_BUS, 0, ALL, 1]);
        (out, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_sum_up_to_nothing_and_say_their_length() {
        let table = MpTable {
            oem: *b"MAKER   ",
            product: *b"MACHINE     ",
            processors: 2,
            ioapic: 0xfec0_0000,
            local_apic: 0xfee0_0000,
            isa: vec![(0, 2), (1, 1), (4, 4)],
        };
        let bytes = table.encode(0xf_0000);
        let (pointer, rest) = bytes.split_at(16);
        assert_eq!(checksum(pointer), 0);
        assert_eq!(checksum(rest), 0);
        assert_eq!(pointer[..8], *b"_MP_\x10\x00\x0f\x00");
        assert_eq!(usize::from(u16::from_le_bytes([rest[4], rest[5]])), rest.len());
        // Two processors of 20 bytes, then bus, I/O APIC, three interrupts, two local ones of 8.
        assert_eq!(rest.len(), 44 + 2 * 20 + 7 * 8);
        assert_eq!(u16::from_le_bytes([rest[34], rest[35]]), 9);
        assert_eq!(rest[8..28], *b"MAKER   MACHINE     ");
        assert_eq!(rest[36..40], [0, 0, 0xe0, 0xfe]);
    }
}

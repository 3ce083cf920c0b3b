//! Checksums that the card makes and checks ("Checksum Offloading"), and that of frames.

use crate::counters::Lost;

/// What is checked of a packet (bits 23 and 22 of a receive descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing.
    Nothing,
    /// The header of IPv4.
    Ip,
    /// That of IPv4, if it has one, and TCP.
    Tcp,
    /// The same of UDP.
    Udp,
}

/// Where checksums are in a frame.
struct Found {
    /// The header of IPv4: from where on, how long.
    ip: Option<(usize, usize)>,
    /// Protocol, the packet behind its headers, the sum of its pseudo header.
    inner: Option<(u8, usize, usize, u32)>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The sum of 16-bit words, not yet folded (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs.fold(0_u32, |sum, pair| {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        // A frame has far fewer words than would overflow this.
        sum.wrapping_add(word.into())
    })
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// Looks for packets of IPv4 and IPv6, also behind a VLAN tag. Fragments, and packets behind extension headers, have no
/// checksum that the card knows.
fn find(frame: &[u8]) -> Option<Found> {
    let (kind, at) = match half(frame, 12)? {
        0x8100 => (half(frame, 16)?, 18),
        kind => (kind, 14),
    };
    let packet = frame.get(at..)?;
    let addresses = |from: usize, len: usize| packet.get(from..from + len).map(sum);
    match kind {
        0x0800 => {
            let first = *packet.first()?;
            let (header, total) = (usize::from(first & 0xf) * 4, usize::from(half(packet, 2)?));
            if first >> 4 != 4 || header < 20 || total < header || packet.len() < total {
                return None;
            }
            let (protocol, fragment) = (*packet.get(9)?, half(packet, 6)? & 0x3fff != 0);
            let pseudo = addresses(12, 8)? + u32::from(protocol) + (total - header) as u32;
            let inner = (protocol, at + header, at + total, pseudo);
            let known = !fragment && (protocol == TCP || protocol == UDP);
            Some(Found { ip: Some((at, header)), inner: known.then_some(inner) })
        }
        0x86dd => {
            let (protocol, len) = (*packet.get(6)?, usize::from(half(packet, 4)?));
            if packet.first()? >> 4 != 6 || packet.len() < 40 + len {
                return None;
            }
            let pseudo = addresses(8, 32)? + u32::from(protocol) + len as u32;
            let inner = (protocol, at + 40, at + 40 + len, pseudo);
            Some(Found { ip: None, inner: (protocol == TCP || protocol == UDP).then_some(inner) })
        }
        _ => None,
    }
}

/// Where in a packet of that protocol its checksum is.
fn place(protocol: u8) -> usize {
    if protocol == TCP { 16 } else { 6 }
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Writes the checksums of a frame that is sent.
pub fn make(frame: &mut [u8]) {
    let Some(Found { ip, inner }) = find(frame) else { return };
    if let Some((at, len)) = ip {
        put(frame, at + 10, 0);
        let value = !fold(sum(frame.get(at..at + len).unwrap_or_default()));
        put(frame, at + 10, value);
    }
    let Some((protocol, from, to, pseudo)) = inner else { return };
    let least = if protocol == TCP { 20 } else { 8 };
    if to - from < least {
        return;
    }
    put(frame, from + place(protocol), 0);
    let value = !fold(pseudo.wrapping_add(sum(frame.get(from..to).unwrap_or_default())));
    // Zero would say that there is none (RFC 768).
    let value = if protocol == UDP && value == 0 { 0xffff } else { value };
    put(frame, from + place(protocol), value);
}

/// Checks those of one that is received.
///
/// # Errors
/// Which is wrong.
pub fn check(frame: &[u8]) -> Result<Checked, Lost> {
    let Some(Found { ip, inner }) = find(frame) else { return Ok(Checked::Nothing) };
    if let Some((at, len)) = ip
        && fold(sum(frame.get(at..at + len).unwrap_or_default())) != 0xffff
    {
        return Err(Lost::Ip);
    }
    let only = if ip.is_some() { Checked::Ip } else { Checked::Nothing };
    let Some((protocol, from, to, pseudo)) = inner else { return Ok(only) };
    let packet = frame.get(from..to).unwrap_or_default();
    if protocol == UDP && half(packet, place(UDP)) == Some(0) {
        return Ok(only);
    }
    match (protocol, fold(pseudo.wrapping_add(sum(packet))) == 0xffff) {
        (TCP, true) => Ok(Checked::Tcp),
        (TCP, false) => Err(Lost::Tcp),
        (_, true) => Ok(Checked::Udp),
        (_, false) => Err(Lost::Udp),
    }
}

/// The frame check sequence (IEEE 802.3, 3.2.9), as it follows the frame.
pub fn frame_check(frame: &[u8]) -> [u8; 4] {
    let crc = frame.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 })
    });
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    /// An Ethernet header, IPv4 of these, and a packet of `len` bytes.
    fn ipv4(protocol: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0; 34 + len];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(20 + len as u16).to_be_bytes());
        frame[23] = protocol;
        frame[26..34].copy_from_slice(&[10, 0, 2, 15, 10, 0, 2, 2]);
        (34..34 + len).for_each(|at| frame[at] = at as u8);
        frame
    }

    #[test]
    fn what_is_made_is_right_and_what_is_changed_is_wrong() {
        for (protocol, len, checked, wrong) in [
            (TCP, 20, Checked::Tcp, Lost::Tcp),
            (TCP, 21, Checked::Tcp, Lost::Tcp),
            (UDP, 8, Checked::Udp, Lost::Udp),
            (UDP, 301, Checked::Udp, Lost::Udp),
        ] {
            let mut frame = ipv4(protocol, len);
            make(&mut frame);
            assert_eq!(check(&frame), Ok(checked));
            let last = frame.len() - 1;
            frame[last] ^= 1;
            assert_eq!(check(&frame), Err(wrong));
            frame[22] ^= 1;
            assert_eq!(check(&frame), Err(Lost::Ip));
            // Behind the packet is padding.
            let mut padded = ipv4(protocol, len);
            padded.extend([0xee; 7]);
            make(&mut padded);
            assert_eq!((check(&padded), padded[padded.len() - 7..] == [0xee; 7]), (Ok(checked), true));
        }
    }

    #[test]
    fn the_example_of_rfc_1071_and_the_check_value_of_the_crc() {
        assert_eq!(fold(sum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(u32::from_le_bytes(frame_check(b"123456789")), 0xcbf4_3926);
    }

    #[test]
    fn fragments_tagged_frames_and_ipv6() {
        let mut fragment = ipv4(TCP, 40);
        fragment[20] = 0x20;
        make(&mut fragment);
        assert_eq!(check(&fragment), Ok(Checked::Ip));
        let mut tagged = ipv4(UDP, 40);
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        make(&mut tagged);
        assert_eq!(check(&tagged), Ok(Checked::Udp));
        let mut six = vec![0; 14 + 40 + 30];
        six[12..14].copy_from_slice(&[0x86, 0xdd]);
        six[14] = 0x60;
        six[19] = 30;
        six[20] = TCP;
        make(&mut six);
        assert_eq!(check(&six), Ok(Checked::Tcp));
        six[30] ^= 4;
        assert_eq!(check(&six), Err(Lost::Tcp));
    }

    #[test]
    fn no_frame_is_too_odd() {
        let base = ipv4(TCP, 40);
        for len in 0..base.len() {
            make(&mut base[..len].to_vec());
            let _ = check(&base[..len]);
        }
        for at in 12..40 {
            for value in [0, 1, 0x40, 0x4f, 0x60, 0x7f, 0xff] {
                let mut frame = base.clone();
                frame[at] = value;
                make(&mut frame);
                let _ = check(&frame);
            }
        }
    }
}

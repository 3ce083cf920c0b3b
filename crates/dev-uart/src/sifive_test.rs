//! The SiFive UART as its manual describes it, section by section, and on a line that takes time.

use super::*;

fn r(d: &mut SifiveUart, register: Reg) -> u64 {
    d.read(register as u64, 4, 0).unwrap()
}

fn w(d: &mut SifiveUart, register: Reg, value: u64) {
    d.write(register as u64, 4, value, 0).unwrap();
}

fn sent(d: &mut SifiveUart) -> Vec<u8> {
    let mut bytes = Vec::new();
    d.drain(&mut bytes, 0);
    bytes
}

#[test]
fn after_reset_all_is_off_and_the_divisor_is_for_115200_baud() {
    let mut d = SifiveUart::default();
    for register in [Reg::TxData, Reg::TxCtrl, Reg::RxCtrl, Reg::Ie, Reg::Ip] {
        assert_eq!(r(&mut d, register), 0, "{register:?}");
    }
    assert_eq!(r(&mut d, Reg::RxData), 1 << 31);
    assert_eq!(r(&mut d, Reg::Div), 289);
    assert_eq!(d.feed(b"x", 0), 0, "the receiver is off");
}

#[test]
fn only_fields_are_kept() {
    let mut d = SifiveUart::default();
    for register in [Reg::TxCtrl, Reg::RxCtrl, Reg::Ie, Reg::Ip, Reg::Div] {
        w(&mut d, register, 0xffff_ffff);
    }
    assert_eq!(r(&mut d, Reg::TxCtrl), 0x7_0003);
    assert_eq!(r(&mut d, Reg::RxCtrl), 0x7_0001);
    assert_eq!(r(&mut d, Reg::Ie), 3);
    assert_eq!(r(&mut d, Reg::Div), 0xf_ffff);
}

#[test]
fn the_transmitter_holds_eight_while_off_and_ignores_more() {
    let mut d = SifiveUart::default();
    for n in 0..8 {
        assert_eq!(r(&mut d, Reg::TxData), 0);
        w(&mut d, Reg::TxData, 0x100 + n);
    }
    assert_eq!(r(&mut d, Reg::TxData), 1 << 31);
    w(&mut d, Reg::TxData, 99);
    assert!(sent(&mut d).is_empty());
    w(&mut d, Reg::TxCtrl, 1);
    assert_eq!(sent(&mut d), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(r(&mut d, Reg::TxData), 0);
}

#[test]
fn a_host_that_does_not_drain_holds_the_transmitter() {
    let mut d = SifiveUart::default();
    w(&mut d, Reg::TxCtrl, 1);
    for _ in 0..OUTGOING {
        w(&mut d, Reg::TxData, 1);
    }
    for _ in 0..DEPTH {
        assert_eq!(r(&mut d, Reg::TxData), 0);
        w(&mut d, Reg::TxData, 2);
    }
    assert_eq!(r(&mut d, Reg::TxData), 1 << 31);
    assert_eq!(sent(&mut d).len(), OUTGOING + DEPTH);
    assert_eq!(r(&mut d, Reg::TxData), 0);
}

#[test]
fn the_receiver_gives_characters_in_order_and_then_empty() {
    let mut d = SifiveUart::default();
    w(&mut d, Reg::RxCtrl, 1);
    assert_eq!(d.feed(b"0123456789", 0), 8);
    assert!(!d.takes_more());
    for byte in *b"01234567" {
        assert_eq!(r(&mut d, Reg::RxData), u64::from(byte));
    }
    assert_eq!(r(&mut d, Reg::RxData), 1 << 31);
    assert!(d.takes_more());
    w(&mut d, Reg::RxData, 5);
    assert_eq!(r(&mut d, Reg::RxData), 1 << 31, "writes are ignored");
}

#[test]
fn the_receive_watermark_is_strictly_exceeded() {
    let mut d = SifiveUart::default();
    w(&mut d, Reg::RxCtrl, 3 << 16 | 1);
    w(&mut d, Reg::Ie, 2);
    d.feed(b"abc", 0);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
    d.feed(b"d", 0);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (2, 1));
    r(&mut d, Reg::RxData);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
}

#[test]
fn the_transmit_watermark_is_strictly_undercut_and_needs_its_enable() {
    let mut d = SifiveUart::default();
    w(&mut d, Reg::TxCtrl, 2 << 16);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 0));
    w(&mut d, Reg::Ie, 1);
    w(&mut d, Reg::TxData, 1);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 1));
    w(&mut d, Reg::TxData, 2);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (0, 0));
    w(&mut d, Reg::TxCtrl, 2 << 16 | 1);
    assert_eq!((r(&mut d, Reg::Ip), d.lines(0, 0)), (1, 1));
}

#[test]
fn only_words_at_registers_are_answered() {
    let mut d = SifiveUart::default();
    for offset in 0..0x40 {
        let known = Reg::ALL.iter().any(|row| row.offset == offset);
        assert_eq!(d.read(offset, 4, 0).is_ok(), known, "{offset:#x}");
        for size in [1, 2, 8] {
            assert_eq!(d.read(offset, size, 0), Err(NoRegister));
            assert_eq!(d.write(offset, size, 0, 0), Err(NoRegister));
        }
    }
}

/// A clock of which a bit time at the divisor after reset is 290 cycles of 100 ns: 29 µs.
const CLOCK_HZ: u32 = 10_000_000;
/// A character of ten bits at that pace.
const FRAME: Nanos = 290_000;

fn paced() -> SifiveUart {
    SifiveUart::new(Pace::Line(CLOCK_HZ))
}

fn at(d: &mut SifiveUart, register: Reg, now: Nanos) -> u64 {
    d.read(register as u64, 4, now).unwrap()
}

fn put(d: &mut SifiveUart, register: Reg, value: u64, now: Nanos) {
    d.write(register as u64, 4, value, now).unwrap();
}

fn sent_by(d: &mut SifiveUart, now: Nanos) -> Vec<u8> {
    d.tick(now);
    let mut bytes = Vec::new();
    d.drain(&mut bytes, now);
    bytes
}

#[test]
fn a_character_is_out_after_ten_bit_times() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    assert_eq!(d.deadline(0), None);
    put(&mut d, Reg::TxData, 0x41, 1000);
    assert_eq!(d.deadline(1000), Some(1000 + FRAME));
    assert!(sent_by(&mut d, 1000 + FRAME - 1).is_empty());
    assert_eq!(sent_by(&mut d, 1000 + FRAME), [0x41]);
    assert_eq!(d.deadline(1000 + FRAME), None);
}

#[test]
fn nstop_adds_a_bit_and_the_divisor_is_one_less_than_what_divides() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 3, 0);
    put(&mut d, Reg::Div, 99, 0);
    put(&mut d, Reg::TxData, 1, 0);
    assert_eq!(d.deadline(0), Some(11 * 100 * 100));
    // The real figures: 115200 baud of 500 MHz.
    let mut d = SifiveUart::new(Pace::Line(500_000_000));
    d.turn_on(500_000_000, 0);
    assert_eq!(at(&mut d, Reg::Div, 0), 4340);
    put(&mut d, Reg::TxData, 1, 0);
    assert_eq!(d.deadline(0), Some(86_820));
}

#[test]
fn eight_wait_behind_the_one_that_is_being_sent_and_follow_without_a_pause() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    for n in 0..9 {
        assert_eq!(at(&mut d, Reg::TxData, 0), 0);
        put(&mut d, Reg::TxData, n, 0);
    }
    assert_eq!(at(&mut d, Reg::TxData, 0), 1 << 31);
    put(&mut d, Reg::TxData, 99, 0);
    assert_eq!(at(&mut d, Reg::TxData, FRAME), 0, "one has left");
    // Looked at late, the times are still those of the line.
    assert_eq!(sent_by(&mut d, 4 * FRAME + 1), [0, 1, 2, 3]);
    assert_eq!(d.deadline(4 * FRAME + 1), Some(5 * FRAME));
    assert_eq!(sent_by(&mut d, 9 * FRAME), [4, 5, 6, 7, 8]);
}

#[test]
fn the_transmit_watermark_is_undercut_as_characters_leave() {
    let mut d = paced();
    put(&mut d, Reg::Ie, 1, 0);
    put(&mut d, Reg::TxCtrl, 2 << 16 | 1, 0);
    for n in 0..4 {
        put(&mut d, Reg::TxData, n, 0);
    }
    // One is being sent, three wait.
    assert_eq!((at(&mut d, Reg::Ip, 0), d.lines(0, 0)), (0, 0));
    d.tick(FRAME);
    assert_eq!((at(&mut d, Reg::Ip, FRAME), d.lines(0, FRAME)), (0, 0));
    d.tick(2 * FRAME);
    assert_eq!((at(&mut d, Reg::Ip, 2 * FRAME), d.lines(0, 2 * FRAME)), (1, 1));
}

#[test]
fn a_transmitter_turned_off_finishes_its_character_only() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    put(&mut d, Reg::TxData, 1, 0);
    put(&mut d, Reg::TxData, 2, 0);
    put(&mut d, Reg::TxCtrl, 0, 10);
    assert_eq!(sent_by(&mut d, 5 * FRAME), [1]);
    put(&mut d, Reg::TxCtrl, 1, 5 * FRAME);
    assert_eq!(d.deadline(5 * FRAME), Some(6 * FRAME));
}

#[test]
fn characters_arrive_one_after_the_other() {
    let mut d = paced();
    put(&mut d, Reg::RxCtrl, 1, 0);
    put(&mut d, Reg::Ie, 2, 0);
    assert_eq!(d.feed(b"abcdefghij", 0), 8);
    assert_eq!(at(&mut d, Reg::RxData, FRAME - 1), 1 << 31);
    assert_eq!(d.deadline(FRAME - 1), Some(FRAME));
    d.tick(FRAME);
    assert_eq!(d.lines(0, FRAME), 1);
    assert_eq!(at(&mut d, Reg::RxData, FRAME), u64::from(b'a'));
    assert_eq!(at(&mut d, Reg::RxData, FRAME), 1 << 31);
    assert_eq!(d.lines(0, FRAME), 0);
    for byte in *b"bcdefgh" {
        assert_eq!(at(&mut d, Reg::RxData, 8 * FRAME), u64::from(byte));
    }
    assert_eq!(d.feed(b"ij", 8 * FRAME), 2);
    assert_eq!(d.deadline(8 * FRAME), Some(9 * FRAME));
}

#[test]
fn what_the_other_end_holds_back_is_not_lost_by_a_receiver_that_is_off() {
    let mut d = paced();
    put(&mut d, Reg::RxCtrl, 1, 0);
    assert_eq!(d.feed(b"ab", 0), 2);
    put(&mut d, Reg::RxCtrl, 0, FRAME);
    assert_eq!((d.deadline(FRAME), d.room()), (None, 0));
    put(&mut d, Reg::RxCtrl, 1, 10 * FRAME);
    assert_eq!(at(&mut d, Reg::RxData, 10 * FRAME), u64::from(b'a'));
    assert_eq!(d.deadline(10 * FRAME), Some(11 * FRAME));
    assert_eq!(at(&mut d, Reg::RxData, 11 * FRAME), u64::from(b'b'));
}

#[test]
fn a_full_receiver_drops_what_nobody_held_back() {
    let mut d = SifiveUart::default();
    d.arrive(1, 0);
    put(&mut d, Reg::RxCtrl, 1, 0);
    assert_eq!(at(&mut d, Reg::RxData, 0), 1 << 31, "the receiver was off");
    for byte in 0..10 {
        d.arrive(byte, 0);
    }
    for byte in 0..8 {
        assert_eq!(at(&mut d, Reg::RxData, 0), byte);
    }
    assert_eq!(at(&mut d, Reg::RxData, 0), 1 << 31, "8 and 9 are lost");
    d.send_break(0);
    assert_eq!(at(&mut d, Reg::RxData, 0), 0);
}

#[test]
fn a_reset_keeps_what_has_left_and_what_is_still_to_come() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    put(&mut d, Reg::RxCtrl, 1, 0);
    put(&mut d, Reg::TxData, 1, 0);
    put(&mut d, Reg::TxData, 2, 0);
    d.feed(b"ab", 0);
    d.tick(FRAME);
    d.reset(FRAME);
    assert_eq!(d.deadline(FRAME), None);
    assert_eq!(sent_by(&mut d, FRAME), [1], "2 was in the chip");
    put(&mut d, Reg::RxCtrl, 1, FRAME);
    assert_eq!(at(&mut d, Reg::RxData, 2 * FRAME), u64::from(b'b'));
}

#[test]
fn at_the_end_the_transmitter_is_emptied() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    for byte in *b"bye" {
        put(&mut d, Reg::TxData, byte.into(), 0);
    }
    d.finish();
    assert_eq!((sent_by(&mut d, 0), d.deadline(0)), (b"bye".to_vec(), None));
    let mut off = SifiveUart::default();
    put(&mut off, Reg::TxData, 1, 0);
    off.finish();
    assert!(sent_by(&mut off, 0).is_empty(), "its transmitter was off");
}

#[test]
fn a_saved_uart_goes_on_in_the_middle_of_its_characters() {
    let mut d = paced();
    put(&mut d, Reg::TxCtrl, 1, 0);
    put(&mut d, Reg::RxCtrl, 1, 0);
    put(&mut d, Reg::TxData, 7, 0);
    d.feed(b"x", 100);
    let mut twin = paced();
    twin.restore(d.save()).unwrap();
    assert_eq!(twin.deadline(200), Some(FRAME));
    assert_eq!(sent_by(&mut twin, FRAME), [7]);
    assert_eq!(at(&mut twin, Reg::RxData, FRAME + 100), u64::from(b'x'));
    let damaged = [
        saved::SifiveUartV2 { rx: vec![0; 8], ..d.save() },
        saved::SifiveUartV2 { arrives: None, ..d.save() },
        saved::SifiveUartV2 { txctrl: 8, ..d.save() },
    ];
    for saved in damaged {
        assert!(twin.restore(saved).is_err());
    }
}

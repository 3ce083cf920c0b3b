//! The 16550A, fact by fact as in the PC16550D datasheet.

use super::*;

const RBR: u64 = 0;
const IER: u64 = 1;
const IIR: u64 = 2;
const FCR: u64 = 2;
const LCR: u64 = 3;
const MCR: u64 = 4;
const LSR: u64 = 5;
const MSR: u64 = 6;
const SCR: u64 = 7;

/// A UART at a moment.
struct Bench {
    uart: Ns16550,
    now: Nanos,
}

impl Bench {
    fn new() -> Self {
        Bench { uart: Ns16550::new(Config::default()), now: 0 }
    }

    fn with_fifos(trigger: u64) -> Self {
        let mut b = Self::new();
        b.w(FCR, trigger << 6 | 1);
        b
    }

    fn r(&mut self, offset: u64) -> u64 {
        self.uart.read(offset, 1, self.now).unwrap()
    }

    fn w(&mut self, offset: u64, value: u64) {
        self.uart.write(offset, 1, value, self.now).unwrap();
    }

    fn feed(&mut self, bytes: &[u8]) -> usize {
        self.uart.feed(bytes, self.now)
    }

    fn line(&self) -> bool {
        self.uart.lines(0, self.now) == 1
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.uart.drain(&mut bytes);
        bytes
    }
}

#[test]
fn master_reset_gives_the_values_of_table_1() {
    let mut b = Bench::new();
    assert_eq!(b.r(IER), 0);
    assert_eq!(b.r(IIR), 1);
    assert_eq!(b.r(LCR), 0);
    assert_eq!(b.r(MCR), 0);
    assert_eq!(b.r(LSR), 0x60);
    assert_eq!(b.r(MSR) & 0x0f, 0);
    assert!(!b.line());
}

#[test]
fn reset_undoes_the_guests_programming_but_not_what_was_sent() {
    let mut b = Bench::with_fifos(3);
    for (offset, value) in [(IER, 0xf), (LCR, 3), (MCR, 0xb), (SCR, 9), (RBR, u64::from(b'x'))] {
        b.w(offset, value);
    }
    b.feed(b"y");
    b.uart.reset(5);
    assert_eq!((b.r(IER), b.r(IIR), b.r(LCR), b.r(MCR), b.r(LSR)), (0, 1, 0, 0, 0x60));
    assert_eq!(b.sent(), b"x");
}

#[test]
fn dlab_swaps_the_divisor_latch_in() {
    let mut b = Bench::new();
    b.w(LCR, 0x83);
    b.w(0, 0x34);
    b.w(1, 0x12);
    assert_eq!((b.r(0), b.r(1)), (0x34, 0x12));
    b.w(LCR, 3);
    assert_eq!((b.r(0), b.r(1)), (0, 0));
    assert!(b.sent().is_empty());
    b.w(SCR, 0xa5);
    assert_eq!(b.r(SCR), 0xa5);
}

#[test]
fn bits_that_are_always_zero_stay_zero() {
    let mut b = Bench::new();
    b.w(IER, 0xff);
    assert_eq!(b.r(IER), 0x0f);
    b.w(MCR, 0xff);
    assert_eq!(b.r(MCR), 0x1f);
}

#[test]
fn characters_written_leave_at_once_and_in_order() {
    let mut b = Bench::new();
    for byte in *b"no fifo" {
        b.w(RBR, u64::from(byte));
        assert_eq!(b.r(LSR) & 0x60, 0x60);
    }
    assert_eq!(b.sent(), b"no fifo");
    assert!(b.sent().is_empty());
}

#[test]
fn a_host_that_does_not_drain_holds_the_transmitter() {
    let mut b = Bench::with_fifos(0);
    for n in 0..OUTGOING as u64 {
        b.w(RBR, n & 0xff);
    }
    assert_eq!(b.r(LSR) & 0x60, 0x60);
    for n in 0..DEPTH as u64 {
        b.w(RBR, n);
        assert_eq!(b.r(LSR) & 0x60, 0);
    }
    b.w(RBR, 0xee);
    let sent = b.sent();
    assert_eq!(sent.len(), OUTGOING + DEPTH, "what did not fit the FIFO is lost, the rest is not");
    assert_eq!(sent[OUTGOING..], (0..16).collect::<Vec<u8>>());
    assert_eq!(b.r(LSR) & 0x60, 0x60);
}

#[test]
fn the_thr_interrupt_comes_when_empty_and_goes_with_iir_or_thr() {
    let mut b = Bench::new();
    b.w(IER, 2);
    assert!(b.line(), "enabling it with THRE set raises it");
    assert_eq!(b.r(IIR), 0b0010);
    assert!(!b.line(), "reading IIR clears it");
    assert_eq!(b.r(IIR), 1);
    b.w(RBR, 0x41);
    assert!(b.line(), "the character has left, THR is empty again");
    b.w(IER, 0);
    assert!(!b.line());
    b.w(IER, 2);
    assert!(b.line(), "disabling and enabling raises it anew");
    b.r(IIR);
    b.w(IER, 2);
    assert!(!b.line(), "without a change of ETBEI nothing happens");
}

#[test]
fn writing_thr_clears_its_interrupt_until_it_is_empty() {
    let mut b = Bench::with_fifos(0);
    for _ in 0..OUTGOING {
        b.w(RBR, 0);
    }
    b.w(IER, 2);
    assert!(b.line());
    b.w(RBR, 1);
    assert!(!b.line());
    b.sent();
    assert!(b.line());
}

#[test]
fn iir_reading_clears_the_thr_interrupt_only_if_it_shows_it() {
    let mut b = Bench::new();
    b.w(IER, 3);
    b.feed(b"a");
    assert_eq!(b.r(IIR), 0b0100);
    b.r(RBR);
    assert_eq!(b.r(IIR), 0b0010);
    assert_eq!(b.r(IIR), 1);
}

#[test]
fn changing_fcr_bit_0_interrupts_a_transmitter_at_once() {
    let mut b = Bench::new();
    b.w(IER, 2);
    b.r(IIR);
    for (fcr, iir) in [(1, 0xc2), (1, 0xc1), (0, 0x02), (0, 0x01)] {
        b.w(FCR, fcr);
        assert_eq!(b.r(IIR), iir, "FCR {fcr}");
    }
}

#[test]
fn without_fifos_the_receiver_holds_one_character() {
    let mut b = Bench::new();
    b.w(IER, 1);
    assert_eq!(b.feed(b"ab"), 1);
    assert_eq!(b.r(LSR), 0x61);
    assert_eq!(b.r(IIR), 0b0100);
    assert_eq!(b.r(RBR), u64::from(b'a'));
    assert_eq!(b.r(LSR), 0x60);
    assert!(!b.line());
}

#[test]
fn each_trigger_level_interrupts_at_its_count_and_clears_below() {
    for (code, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        let mut b = Bench::with_fifos(code);
        b.w(IER, 1);
        for n in 1..=16 {
            assert_eq!(b.feed(b"x"), 1);
            assert_eq!(b.line(), n >= level, "level {level}, {n} characters");
        }
        assert_eq!(b.r(IIR), 0xc4);
        assert_eq!(b.feed(b"x"), 0);
        for left in (0..16).rev() {
            b.r(RBR);
            assert_eq!(b.line(), left >= level, "level {level}, {left} characters");
        }
    }
}

#[test]
fn the_receiver_times_out_after_four_character_times() {
    let mut b = Bench::with_fifos(3);
    // 8N1 at divisor 24 of 3.6864 MHz is 9600 Bd; four characters of ten bits take 4.1666 ms.
    b.w(LCR, 0x83);
    b.w(0, 24);
    b.w(1, 0);
    b.w(LCR, 3);
    b.w(IER, 1);
    let four = 40 * 1_000_000_000 / 9600;
    b.now = 1000;
    b.feed(b"ab");
    assert_eq!(b.uart.deadline(b.now), Some(1000 + four));
    b.now = 1000 + four - 1;
    assert!(!b.line());
    b.feed(b"c");
    b.now += 1;
    assert!(!b.line(), "a new character starts the time anew");
    b.now += four - 1;
    assert!(b.line());
    assert_eq!(b.r(IIR), 0xcc);
    b.feed(b"d");
    assert_eq!(b.r(IIR), 0xcc, "a timeout that has come is not taken back by a character");
    assert_eq!(b.r(RBR), u64::from(b'a'));
    assert!(!b.line(), "reading a character clears it and starts the time anew");
    b.now += four;
    assert_eq!(b.r(IIR), 0xcc);
    for _ in 0..3 {
        b.r(RBR);
    }
    b.now += 10 * four;
    assert!(!b.line(), "an empty FIFO does not time out");
    assert_eq!(b.uart.deadline(b.now), None);
}

#[test]
fn the_character_time_follows_the_format() {
    let mut s = State::reset();
    s.divisor = 1;
    // 16 MHz and divisor 1: one bit is a microsecond.
    let mut four = |lcr| {
        s.lcr = lcr;
        s.four_characters(16_000_000)
    };
    assert_eq!(four(0b0000), 4 * 7_000);
    assert_eq!(four(0b0100), 4 * 7_500, "5 bits with 1.5 stop bits");
    assert_eq!(four(0b0111), 4 * 11_000, "8 bits, 2 stop bits");
    assert_eq!(four(0b1111), 4 * 12_000, "and parity");
}

#[test]
fn overrun_keeps_a_full_fifo_and_replaces_a_single_character() {
    let mut b = Bench::with_fifos(0);
    b.w(MCR, 0x10);
    b.w(IER, 4);
    for n in 0..17 {
        b.w(RBR, n);
    }
    assert_eq!(b.r(IIR), 0xc6);
    assert_eq!(b.r(LSR), 0x63);
    assert_eq!(b.r(LSR), 0x61, "reading LSR clears OE");
    assert!(!b.line());
    assert_eq!((0..16).map(|_| b.r(RBR)).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    b.w(FCR, 0);
    b.w(RBR, 1);
    b.w(RBR, 2);
    assert_eq!(b.r(LSR), 0x63);
    assert_eq!(b.r(RBR), 2);
}

#[test]
fn a_break_is_a_zero_character_whose_error_shows_at_the_top() {
    let mut b = Bench::with_fifos(0);
    b.w(IER, 4);
    b.feed(b"a");
    b.uart.send_break(b.now);
    assert_eq!(b.r(LSR), 0xe1, "LSR bit 7: an error is somewhere in the FIFO");
    assert!(!b.line());
    b.r(RBR);
    assert!(b.line());
    assert_eq!(b.r(LSR), 0xf9, "BI, FE, DR and bit 7");
    assert_eq!(b.r(LSR), 0x61);
    assert_eq!(b.r(RBR), 0);
    b.w(FCR, 0);
    b.uart.send_break(b.now);
    assert_eq!(b.r(LSR), 0x79, "without FIFOs bit 7 is zero");
}

#[test]
fn loopback_joins_transmitter_to_receiver_and_mcr_to_msr() {
    let mut b = Bench::new();
    b.w(MCR, 0x10);
    b.r(MSR);
    b.w(RBR, 0x55);
    assert!(b.sent().is_empty());
    assert_eq!(b.feed(b"z"), 0, "the line is not connected");
    assert_eq!(b.r(RBR), 0x55);
    for (mcr, msr) in [(0x11, 0x22), (0x13, 0x31), (0x1b, 0xb8), (0x1f, 0xf0), (0x1b, 0xb4), (0x10, 0x0b)] {
        b.w(MCR, mcr);
        assert_eq!(b.r(MSR), msr, "MCR {mcr:#x}");
        assert_eq!(b.r(MSR), msr & 0xf0, "reading MSR clears the deltas");
    }
    assert_eq!(b.uart.modem_outputs(), 0);
}

#[test]
fn modem_inputs_interrupt_with_their_deltas() {
    let mut b = Bench::new();
    b.w(IER, 8);
    assert!(!b.line());
    b.uart.set_modem(0xa0);
    assert!(b.line());
    assert_eq!(b.r(IIR), 0);
    assert_eq!(b.r(MSR), 0xa1);
    assert!(!b.line());
    b.uart.set_modem(0xe0);
    assert_eq!(b.r(MSR), 0xe0, "the leading edge of RI is no event");
    b.uart.set_modem(0xa0);
    assert_eq!(b.r(MSR), 0xa4, "its trailing edge is");
}

#[test]
fn interrupts_show_in_order_of_priority() {
    let mut b = Bench::with_fifos(0);
    b.uart.set_modem(0);
    b.w(IER, 0xf);
    b.uart.send_break(b.now);
    assert_eq!(b.r(IIR), 0xc6);
    b.r(LSR);
    assert_eq!(b.r(IIR), 0xc4);
    b.r(RBR);
    assert_eq!(b.r(IIR), 0xc2);
    assert_eq!(b.r(IIR), 0xc0);
    b.r(MSR);
    assert_eq!(b.r(IIR), 0xc1);
}

#[test]
fn fcr_resets_clear_their_fifo_and_need_bit_0() {
    let mut b = Bench::with_fifos(0);
    b.feed(b"abc");
    b.w(FCR, 2);
    assert_eq!(b.r(IIR) & 0xc0, 0, "FIFOs off");
    assert_eq!(b.r(LSR) & 1, 0, "which empties them");
    b.w(FCR, 1);
    b.feed(b"abc");
    b.w(FCR, 3);
    assert_eq!(b.r(LSR) & 1, 0);
    assert_eq!(b.r(IIR), 0xc1);
    b.feed(b"abc");
    b.w(FCR, 5);
    assert_eq!(b.r(RBR), u64::from(b'a'), "the transmitter's reset is not the receiver's");
}

#[test]
fn the_host_is_rung_when_there_is_output_or_room_for_what_was_refused() {
    let mut b = Bench::with_fifos(0);
    assert!(!b.uart.wants_host() && !b.uart.takes_more());
    b.w(RBR, 1);
    assert!(b.uart.wants_host() && !b.uart.takes_more());
    b.sent();
    assert!(!b.uart.wants_host());
    assert_eq!(b.feed(&[7; 20]), 16);
    assert!(!b.uart.takes_more());
    for _ in 0..7 {
        b.r(RBR);
        assert!(!b.uart.takes_more());
    }
    b.r(RBR);
    assert!(b.uart.takes_more());
    assert_eq!(b.feed(&[7; 4]), 4);
    assert!(!b.uart.takes_more() && !b.uart.wants_host());
}

#[test]
fn a_wide_access_reaches_the_one_register_at_its_address() {
    let mut b = Bench::new();
    for size in [1, 2, 4, 8] {
        b.uart.write(7, size, 0x1234, 0).unwrap();
        assert_eq!(b.uart.read(7, size, 0), Ok(0x34), "{size} bytes: eight data lines");
        assert_eq!(b.uart.read(6, size, 0), b.uart.read(6, 1, 0), "and no neighbour");
        assert_eq!(b.uart.read(8, size, 0), Err(NoRegister));
        assert_eq!(b.uart.write(8, size, 0, 0), Err(NoRegister));
    }
    let mut wide = Ns16550::new(Config { clock_hz: 1_843_200, reg_shift: 2 });
    wide.write(7 << 2, 4, 0x1ff, 0).unwrap();
    assert_eq!(wide.read(7 << 2, 4, 0), Ok(0xff));
    assert_eq!(wide.read(7 << 2, 1, 0), Ok(0xff));
    assert_eq!(wide.read((7 << 2) + 1, 1, 0), Err(NoRegister));
    assert_eq!(wide.read(8 << 2, 4, 0), Err(NoRegister));
}

#[test]
fn an_impossible_state_is_refused() {
    let mut b = Bench::new();
    let good = b.uart.save();
    assert!(b.uart.restore(saved::Ns16550V1 { tx: vec![0; 2], ..good.clone() }).is_err());
    assert!(b.uart.restore(saved::Ns16550V1 { ier: 0x10, ..good.clone() }).is_err());
    assert!(b.uart.restore(saved::Ns16550V1 { out: vec![0; OUTGOING + 1], ..good.clone() }).is_err());
    assert!(b.uart.restore(good).is_ok());
}

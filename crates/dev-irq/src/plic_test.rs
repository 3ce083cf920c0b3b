//! The PLIC, fact by fact as in its specification.

use super::*;

/// A PLIC of 95 sources and four contexts.
struct Bench(Plic);

impl Bench {
    fn new() -> Self {
        Bench(Plic::new(95, 4))
    }

    fn r(&mut self, offset: u64) -> u64 {
        self.0.read(offset, 4, 0).unwrap()
    }

    fn w(&mut self, offset: u64, value: u64) {
        self.0.write(offset, 4, value, 0).unwrap();
    }

    fn set_priority(&mut self, id: u64, priority: u64) {
        self.w(4 * id, priority);
    }

    fn enable(&mut self, context: u64, id: u64) {
        let offset = 0x2000 + 0x80 * context + id / 32 * 4;
        let bits = self.r(offset);
        self.w(offset, bits | 1 << (id % 32));
    }

    fn set_threshold(&mut self, context: u64, threshold: u64) {
        self.w(0x20_0000 + 0x1000 * context, threshold);
    }

    fn claim(&mut self, context: u64) -> u64 {
        self.r(0x20_0004 + 0x1000 * context)
    }

    fn complete(&mut self, context: u64, id: u64) {
        self.w(0x20_0004 + 0x1000 * context, id);
    }

    fn lines(&self) -> u64 {
        self.0.lines(0, 0)
    }

    fn pending(&mut self, id: u64) -> bool {
        self.r(0x1000 + id / 32 * 4) >> (id % 32) & 1 != 0
    }
}

#[test]
fn an_interrupt_goes_from_level_to_claim_to_completion() {
    let mut b = Bench::new();
    b.set_priority(10, 1);
    b.enable(1, 10);
    b.0.input(10, true);
    assert!(b.pending(10));
    assert_eq!(b.lines(), 0b0010);
    assert_eq!(b.claim(1), 10);
    assert!(!b.pending(10));
    assert_eq!(b.lines(), 0);
    assert_eq!(b.claim(1), 0, "the gateway is closed until completion");
    b.0.input(10, false);
    b.complete(1, 10);
    assert_eq!((b.lines(), b.claim(1)), (0, 0));
}

#[test]
fn a_level_still_high_at_completion_is_a_new_request() {
    let mut b = Bench::new();
    b.set_priority(10, 1);
    b.enable(0, 10);
    b.0.input(10, true);
    assert_eq!(b.claim(0), 10);
    b.0.input(10, false);
    b.0.input(10, true);
    assert!(!b.pending(10));
    b.complete(0, 10);
    assert!(b.pending(10));
    assert_eq!(b.claim(0), 10);
}

#[test]
fn a_request_is_not_taken_back_when_the_level_falls() {
    let mut b = Bench::new();
    b.set_priority(10, 1);
    b.enable(0, 10);
    b.0.input(10, true);
    b.0.input(10, false);
    assert_eq!(b.lines(), 1);
    assert_eq!(b.claim(0), 10);
    b.complete(0, 10);
    assert_eq!(b.lines(), 0);
}

#[test]
fn the_highest_priority_is_claimed_first_and_of_equals_the_lowest_identifier() {
    let mut b = Bench::new();
    for (id, priority) in [(5, 2), (40, 7), (95, 7), (3, 2), (1, 1)] {
        b.set_priority(id, priority);
        b.enable(0, id);
        b.0.input(id as u32, true);
    }
    let order: Vec<u64> = (0..6).map(|_| b.claim(0)).collect();
    assert_eq!(order, [40, 95, 3, 5, 1, 0]);
}

#[test]
fn priority_zero_never_interrupts() {
    let mut b = Bench::new();
    b.enable(0, 7);
    b.0.input(7, true);
    assert!(b.pending(7));
    assert_eq!((b.lines(), b.claim(0)), (0, 0));
    b.set_priority(7, 1);
    assert_eq!((b.lines(), b.claim(0)), (1, 7));
}

#[test]
fn the_threshold_masks_the_notification_but_not_the_claim() {
    let mut b = Bench::new();
    b.set_priority(7, 3);
    b.enable(0, 7);
    b.enable(2, 7);
    b.0.input(7, true);
    b.set_threshold(0, 3);
    assert_eq!(b.lines(), 0b0100);
    b.set_threshold(0, 2);
    assert_eq!(b.lines(), 0b0101);
    b.set_threshold(0, 7);
    assert_eq!(b.claim(0), 7);
    assert_eq!((b.lines(), b.claim(2)), (0, 0), "whoever claims first has it");
}

#[test]
fn a_completion_counts_only_for_an_enabled_source() {
    let mut b = Bench::new();
    b.set_priority(7, 1);
    b.enable(0, 7);
    b.0.input(7, true);
    assert_eq!(b.claim(0), 7);
    for id in [0, 8, 96, 1024, 0xffff_ffff] {
        b.complete(0, id);
    }
    b.complete(1, 7);
    assert_eq!(b.claim(0), 0);
    b.enable(1, 7);
    b.complete(1, 7);
    assert_eq!(b.claim(0), 7, "another context may complete it");
}

#[test]
fn completing_what_nobody_claimed_changes_nothing() {
    let mut b = Bench::new();
    b.set_priority(7, 1);
    b.enable(0, 7);
    b.complete(0, 7);
    assert_eq!(b.claim(0), 0);
    b.0.input(7, true);
    b.complete(0, 7);
    assert_eq!((b.claim(0), b.claim(0)), (7, 0));
}

#[test]
fn fields_are_warl_and_source_zero_does_not_exist() {
    let mut b = Bench::new();
    b.set_priority(1, 0xffff_fffd);
    b.set_priority(0, 7);
    b.set_priority(96, 7);
    b.set_threshold(3, 0xf);
    assert_eq!((b.r(4), b.r(0), b.r(4 * 96), b.r(0x20_3000)), (5, 0, 0, 7));
    for word in 0..32 {
        b.w(0x2000 + 4 * word, 0xffff_ffff);
        b.w(0x1000 + 4 * word, 0xffff_ffff);
    }
    let enables: Vec<u64> = (0..4).map(|word| b.r(0x2000 + 4 * word)).collect();
    assert_eq!(enables, [0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 0]);
    assert_eq!(b.r(0x1000), 0, "pending bits are read-only");
    b.0.input(0, true);
    b.0.input(96, true);
    assert_eq!((b.lines(), b.claim(0)), (0, 0));
    let mut all = Plic::new(1023, 1);
    all.write(0x207c, 4, 0xffff_ffff, 0).unwrap();
    assert_eq!(all.read(0x207c, 4, 0), Ok(0xffff_ffff));
}

#[test]
fn the_last_context_is_where_the_memory_map_says() {
    let mut d = Plic::new(1023, MAX_CONTEXTS);
    d.write(4 * 1023, 4, 1, 0).unwrap();
    d.write(0x1f_1ffc, 4, 1 << 31, 0).unwrap();
    d.input(1023, true);
    assert_eq!(d.outputs(), 15872);
    assert_eq!(d.lines(15871 / 64, 0), 1 << 63);
    assert_eq!(d.read(0x3ff_f004, 4, 0), Ok(1023));
}

#[test]
fn only_words_are_answered_and_reserved_ones_read_as_zero() {
    let mut b = Bench::new();
    for offset in [0x1080, 0x1ffc, 0x2200, 0x1f_2000, 0x1f_fffc, 0x20_0008, 0x20_4000, 0x20_4004, 0x3ff_fffc]
    {
        b.w(offset, 0xffff_ffff);
        assert_eq!(b.r(offset), 0, "{offset:#x}");
    }
    for (offset, size) in [(4, 1), (4, 2), (0, 8), (0x20_0000, 8), (0x400_0000, 4), (u64::MAX - 3, 4)] {
        assert_eq!(b.0.read(offset, size, 0), Err(NoRegister), "{offset:#x}");
        assert_eq!(b.0.write(offset, size, 1, 0), Err(NoRegister), "{offset:#x}");
    }
    assert_eq!(b.0.save(), Bench::new().0.save());
}

#[test]
fn reset_forgets_all_but_the_levels_at_the_inputs() {
    let mut b = Bench::new();
    b.set_priority(7, 1);
    b.enable(0, 7);
    b.set_threshold(0, 1);
    b.0.input(7, true);
    b.0.input(8, true);
    b.0.input(8, false);
    b.claim(0);
    b.0.reset(0);
    assert_eq!((b.r(4 * 7), b.r(0x2000), b.r(0x20_0000), b.lines()), (0, 0, 0, 0));
    assert!(b.pending(7) && !b.pending(8));
}

#[test]
fn an_impossible_state_is_refused() {
    let mut d = Plic::new(95, 4);
    let good = d.save();
    assert!(d.restore(Plic::new(94, 4).save()).is_err());
    assert!(d.restore(Plic::new(95, 3).save()).is_err());
    assert!(d.restore(saved::PlicV1 { level: vec![2, 0, 0], ..good.clone() }).is_err());
    assert!(d.restore(saved::PlicV1 { pending: vec![1, 0, 0], ..good.clone() }).is_err());
    assert!(d.restore(good).is_ok());
}

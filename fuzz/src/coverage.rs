//! Which of the compiler's coverage points the inputs so far have reached, for the report at the end.
//!
//! libFuzzer counts them too, but over all code and without saying where. With
//! `HOSTEL_FUZZ_COVERAGE=FILE` set, this writes one line for each point, `OFFSET 0|1`: the offset is
//! that of its address from the first byte of the image, the same as in the binary's symbol table.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

// The linker puts symbols around the sections that `-sanitizer-coverage-inline-8bit-counters` and
// `-sanitizer-coverage-pc-table` fill (LLVM, "SanitizerCoverage"): a byte, and a pair of words
// (address, flags), for each point. Rust must not declare those symbols: the coverage pass declares
// them in this very module, would find the names taken, and tell libFuzzer of no counters at all.
core::arch::global_asm!(
    ".pushsection .data.rel.ro.hostel_coverage,\"aw\"",
    ".balign 8",
    ".globl hostel_coverage",
    "hostel_coverage:",
    ".quad __start___sancov_cntrs, __stop___sancov_cntrs, __start___sancov_pcs, __executable_start",
    ".popsection",
);

unsafe extern "C" {
    #[link_name = "hostel_coverage"]
    static SECTIONS: Sections;
}

/// Where the linker put things.
#[repr(C)]
struct Sections {
    first_counter: *const AtomicU8,
    end_of_counters: *const AtomicU8,
    first_point: *const [usize; 2],
    image: *const u8,
}

/// Points reached by any input so far, and where to say so.
struct Seen {
    file: Option<std::ffi::OsString>,
    reached: Vec<bool>,
}

static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

/// Adds what the input that was just run has reached; writes the file if that was something new.
pub fn note() {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen
        .get_or_insert_with(|| Seen { file: std::env::var_os("HOSTEL_FUZZ_COVERAGE"), reached: Vec::new() });
    let Some(file) = &seen.file else { return };
    // SAFETY: four addresses, as the assembly above lays them out, never written.
    let sections = unsafe { &*(&raw const SECTIONS) };
    let count = sections.end_of_counters.addr() - sections.first_counter.addr();
    // SAFETY: the linker puts the two symbols around the one section of counters, `count` bytes that
    // live as long as the program and are only ever touched as bytes.
    let counters = unsafe { std::slice::from_raw_parts(sections.first_counter, count) };
    // SAFETY: the table has one entry for each counter (same document) and is constant.
    let points = unsafe { std::slice::from_raw_parts(sections.first_point, count) };
    seen.reached.resize(count, false);
    let mut news = false;
    for (reached, counter) in seen.reached.iter_mut().zip(counters) {
        if counter.load(Ordering::Relaxed) != 0 && !*reached {
            (*reached, news) = (true, true);
        }
    }
    if news {
        let image = sections.image.addr();
        let mut text = String::new();
        for ([address, _], reached) in points.iter().zip(&seen.reached) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:x} {}", address - image, u8::from(*reached));
        }
        std::fs::write(file, text).expect("the coverage file cannot be written");
    }
}

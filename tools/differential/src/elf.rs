//! The smallest ELF files that a Linux program loader takes.

/// A piece of an executable.
pub struct Segment<'a> {
    /// Virtual address: a whole page.
    pub address: u64,
    /// Whether it is code (read and execute) or data (read and write).
    pub code: bool,
    /// Contents.
    pub bytes: &'a [u8],
}

/// An executable for riscv64 Linux that starts at `entry`.
pub fn executable(entry: u64, segments: &[Segment<'_>]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, v: u16| file.extend(v.to_le_bytes());
    let word = |file: &mut Vec<u8>, v: u32| file.extend(v.to_le_bytes());
    let long = |file: &mut Vec<u8>, v: u64| file.extend(v.to_le_bytes());
    // ET_EXEC, EM_RISCV, version; entry, program headers behind this header, no sections.
    half(&mut file, 2);
    half(&mut file, 243);
    word(&mut file, 1);
    for v in [entry, 64, 0] {
        long(&mut file, v);
    }
    // Flags: RVC and the double-precision ABI. Then sizes and counts.
    word(&mut file, 5);
    for v in [64, 56, segments.len() as u16, 0, 0, 0] {
        half(&mut file, v);
    }
    let mut at = 4096u64;
    for segment in segments {
        word(&mut file, 1);
        word(&mut file, if segment.code { 5 } else { 6 });
        let size = segment.bytes.len() as u64;
        for v in [at, segment.address, segment.address, size, size, 4096] {
            long(&mut file, v);
        }
        at += size.next_multiple_of(4096);
    }
    for segment in segments {
        file.resize(file.len().next_multiple_of(4096), 0);
        file.extend(segment.bytes);
    }
    file
}

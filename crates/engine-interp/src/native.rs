//! What an engine that emits code keeps beside the hart, at a fixed distance from its registers.

use engine_core::Exit;

/// Entries of the jump table; a power of two.
pub const JUMPS: usize = 1 << 16;

/// Code that an indirect jump may go to.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Jump {
    /// Virtual address of the guest's code.
    pub pc: u64,
    /// Number of the context in which it holds; 0 for an empty entry.
    pub context: u64,
    /// Address of the host's code.
    pub host: u64,
}

impl Jump {
    /// Where the jump table has `pc` in a context. Functions begin at like places of their pages, so the page must count
    /// too; and the kernel is the same in the contexts of all processes, so those must.
    pub const fn slot(pc: u64, context: u64) -> usize {
        let low = pc as u32;
        let sum = (low ^ low.rotate_right(JUMP_TURN)).wrapping_add((context as u32).wrapping_mul(2));
        (sum >> 1) as usize & (JUMPS - 1)
    }
}

/// By how many bits a program counter is turned to find its place in the jump table.
pub const JUMP_TURN: u32 = 12;

/// Banks of near pages.
pub const NEAR_BANKS: usize = 64;
/// Near pages of all banks.
pub const NEAR: usize = 16 * NEAR_BANKS;

/// State of emitted code.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Native {
    /// The engine emits code, whose meaning depends on more modes than that of decoded instructions does.
    pub emits: bool,
    /// Instructions left, while emitted code is not running.
    pub budget: i64,
    /// Why emitted code leaves if it finds no code for a direct jump.
    pub reason: u64,
    /// Instructions that are retired when none is left.
    pub end: u64,
    /// Virtual address of the page that the code being run is in.
    pub page_va: u64,
    /// Arguments of a call.
    pub args: [u64; 4],
    /// Values that find no register.
    pub spill: [u64; 16],
    /// Where groups of accesses find their base in the host.
    pub groups: [u64; 16],
    /// MXCSR as the guest's code has it.
    pub mxcsr: u32,
    /// 1 if the floating-point state is known to be dirty, else 0.
    pub dirty: u32,
    /// MXCSR as the host's code has it.
    pub host_mxcsr: u32,
    /// Address of what translates, for what emitted code calls.
    pub translator: usize,
    /// Why the run must end, if emitted code says so.
    pub exit: Option<Exit>,
    /// Address of the memory that loads may go to without a table where addresses are physical; its size less 8, or 0 if
    /// there is none; and where its first byte is in the host.
    pub linear_base: u64,
    /// See [`Native::linear_base`].
    pub linear_limit: u64,
    /// See [`Native::linear_base`].
    pub linear_host: u64,
    /// Address of the jump table: where indirect jumps go.
    pub jumps: u64,
    /// Pages that places of accesses met last: the page's address and what leads from an address in it to the host.
    pub near: [[u64; 2]; NEAR],
    /// How often each of these was not the page that was wanted.
    pub near_misses: [u64; NEAR],
    /// For each bank of near pages, what was forgotten and which context there was when it was last emptied.
    pub near_owners: [[u64; 2]; NEAR_BANKS],
}

impl Default for Native {
    fn default() -> Self {
        // All exceptions masked, as Rust code has it.
        let mxcsr = 0x1f80;
        Native {
            emits: false,
            budget: 0,
            dirty: 0,
            reason: 0,
            end: 0,
            page_va: 0,
            args: [0; 4],
            spill: [0; 16],
            groups: [0; 16],
            near: [[0; 2]; NEAR],
            near_misses: [0; NEAR],
            near_owners: [[0; 2]; NEAR_BANKS],
            linear_base: 0,
            linear_limit: 0,
            linear_host: 0,
            mxcsr,
            host_mxcsr: mxcsr,
            translator: 0,
            exit: None,
            jumps: 0,
        }
    }
}

//! What emitted code knows of the structures around it: distances and addresses, found out by whoever owns them.

/// Distances in bytes from `rbp`, which points into the processor's state.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Integer register 0.
    pub x: i32,
    /// Floating-point register 0.
    pub f: i32,
    /// The program counter.
    pub pc: i32,
    /// Virtual address of the page that the code being run is in.
    pub page_va: i32,
    /// Instructions left, while emitted code is not running.
    pub budget: i32,
    /// The reason to leave with if [`Ways::find_far`] finds nothing.
    pub reason: i32,
    /// Arguments of a call, four words.
    pub args: i32,
    /// A reservation: the place in the host's memory, the value there, how many bytes.
    pub reservation: i32,
    /// 32 bits of which one says whether floating-point instructions are legal.
    pub floats: i32,
    /// That bit's value.
    pub floats_bit: i32,
    /// 32 bits that are 1 only if the floating-point state is known to be dirty, else 0.
    pub dirty: i32,
    /// 32 bits of the status register, of which these say so for the guest.
    pub status: i32,
    /// See [`Layout::status`].
    pub status_dirty: i32,
    /// Places for values, [`SPILLS`] words.
    pub spill: i32,
    /// Addresses of groups of accesses, [`GROUPS`] words.
    pub groups: i32,
    /// Near pages, [`NEAR_BANKS`] banks of [`NEAR_PAGES`] times two words: the page's address, and what is added to one in it.
    pub near: i32,
    /// For each near page a word that counts how often it was not the one that was wanted.
    pub near_misses: i32,
    /// For each bank two words: what was forgotten, and which context there was, when it was last emptied. No context has the
    /// number 0.
    pub near_owners: i32,
    /// Counts what was forgotten of pages to load from.
    pub read_version: i32,
    /// Counts what was forgotten of pages to store to.
    pub write_version: i32,
    /// The number of the context of loads and stores.
    pub data_number: i32,
    /// MXCSR as the guest's code has it.
    pub mxcsr: i32,
    /// MXCSR as the host's code has it.
    pub host_mxcsr: i32,
    /// Size, less 8, of the memory that loads may go to without a table ([`crate::Modes::linear`]).
    pub linear_limit: i32,
    /// Where its first byte is in the host.
    pub linear_host: i32,
    /// The table of pages to load from.
    pub read: i32,
    /// The table of pages to store to.
    pub write: i32,
    /// In an entry of these: the tag.
    pub entry_tag: i32,
    /// In an entry of these: the addend.
    pub entry_addend: i32,
    /// Mask of an entry's place: 16 times the number of entries, less 16.
    pub entry_mask: i32,
    /// The tag of the context of loads and stores.
    pub data_tag: i32,
    /// The number of the context of fetches.
    pub code_number: i32,
    /// Where the address of the jump table is. It has entries of 32 bytes: program counter, context number, host address.
    pub jumps: i32,
    /// Mask of a program counter's place in it, before it is multiplied by 16: entries times 2, less 2.
    pub jump_mask: i32,
    /// To find its entry, a program counter is turned right by so many bits, and that added to it without carry; then twice
    /// the context's number is added.
    pub jump_turn: u8,
    /// The machine has one hart only.
    pub one_hart: bool,
}

/// Bytes from the first page of a region to behind its last one, at most.
pub const REACH: u32 = 1 << 16;

/// Groups of accesses in a block.
pub const GROUPS: usize = 16;

/// Banks of near pages.
pub const NEAR_BANKS: usize = 64;

/// Near pages of a bank.
pub const NEAR_PAGES: usize = 16;

/// Places for values that find no register.
pub const SPILLS: usize = 16;

/// Addresses of the code that all blocks of one kind share. Those that call a function want [`Info`] in eax; after them the
/// zero flag says whether to go on with the value in rax, else rdx is what [`Ways::failed`] wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    /// Leaves for the host's code with a reason in eax.
    pub leave: u64,
    /// Goes to the code for the program counter in rax, which its entry of the jump table, at rcx, does not have; rdx is the
    /// number of the context.
    pub find: u64,
    /// The same for a direct jump, with the reason to leave with in the layout's place.
    pub find_far: u64,
    /// Goes on after a call whose status in rdx was not 0: leaves, or goes to other code.
    pub failed: u64,
    /// Loads the slow way: address in rdx.
    pub load: u64,
    /// Stores the slow way: address in rdx, value in rcx.
    pub store: u64,
    /// Calls a floating-point operation: its number in edx, arguments in the layout's place.
    pub float: u64,
    /// Calls another operation, likewise.
    pub system: u64,
    /// The same for one that depends on the state of floating point, or changes it.
    pub status: u64,
    /// Takes a trap: cause in edx, value in rcx.
    pub trap: u64,
    /// Replaces a word: address in rdx, operand in rcx, operation in the first argument.
    pub amo: u64,
    /// Loads and reserves: address in rdx.
    pub reserve: u64,
    /// Stores if the reservation holds: address in rdx, value in rcx.
    pub conditional: u64,
}

/// Addresses of the code that all blocks share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// For blocks in which floating-point instructions are not legal.
    pub plain: Ways,
    /// For those in which they are.
    pub floats: Ways,
}

/// Why emitted code left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Leave {
    /// To look up the code at the program counter.
    Lookup = 0,
    /// The instruction at the program counter must be interpreted.
    Step = 1,
    /// What is left of the budget is not enough for the block at the program counter.
    Budget = 2,
    /// The run must end; why is kept elsewhere.
    Exit = 3,
    /// As [`Leave::Lookup`], and the site with this number less 16 can be patched. The first of many.
    Link = 16,
}

impl Leave {
    /// More than any reason that a function gives, and less than an address of code.
    pub const LAST: u32 = 15;
}

/// Which instruction makes a call, in 32 bits: its place from where the unit's offsets count, the width of its access, and how
/// many instructions of the block are left, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info(pub u32);

impl Info {
    /// Packs: `offset` from the start of the (first) page, below [`REACH`]; logarithm of the width; instructions left.
    pub const fn new(offset: u32, width: u32, left: u32) -> Info {
        Info(offset & (REACH - 1) | (width & 3) << Self::WIDTH | left << Self::LEFT)
    }

    const WIDTH: u32 = REACH.trailing_zeros();
    const LEFT: u32 = Self::WIDTH + 2;

    /// Bytes from the start of the (first) page.
    pub const fn offset(self) -> u64 {
        (self.0 & (REACH - 1)) as u64
    }

    /// Logarithm of the access's width in bytes, or of the instruction's length.
    pub const fn width(self) -> u32 {
        self.0 >> Self::WIDTH & 3
    }

    /// Instructions left.
    pub const fn left(self) -> i64 {
        (self.0 >> Self::LEFT) as i64
    }
}

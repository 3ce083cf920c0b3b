//! The oracle on x86-64 Linux.

use crate::kinds::{Kind, To, kind};
use crate::layout::{CODE, CODE_BYTES, DATA, DATA_BYTES, EXITS, RESERVED, WRITABLE_BYTES};
use crate::signals::{Handler, Running, exception};
use crate::switch::{CONTEXT, Context, enter, exit, ours, step, taken};
use crate::windows::{FILL, Windows};
use crate::{CODE_LIMIT, Outcome, Refused, Regs, SETTABLE, Signal, Unavailable};
use std::arch::x86_64::_mm_mfence;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// RFLAGS.TF
const TF: u64 = 1 << 8;
/// RFLAGS.RF, which is set in what faults save (SDM volume 3, "Instruction-Breakpoint Exception Condition"),
/// and which a program never sees set.
const RF: u64 = 1 << 16;
/// What a process cannot clear: IF, and bit 1.
const ALWAYS: u64 = 0x202;

/// Bytes of a jump: see [`jump`].
const JUMP: usize = 6;
/// The address in [`EXITS`] of [`exit`]; of [`taken`].
const EXIT: u64 = EXITS;
const TAKEN_EXIT: u64 = EXITS + 8;

/// One behind the code.
const END: u64 = CODE + CODE_BYTES as u64;

/// Whether there is an oracle.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Held by the oracle of the process.
struct Turn;

impl Turn {
    fn take() -> Result<Turn, Unavailable> {
        if TAKEN.swap(true, Ordering::Acquire) { Err(Unavailable::Second) } else { Ok(Turn) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// An instruction in its place.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    rip: u64,
    kind: Kind,
    /// What is to stand at `rip`: the instruction and a jump, if there is room for one.
    bytes: [u8; CODE_LIMIT + JUMP],
    len: usize,
}

/// What a branch will do, as far as one can tell.
enum Way {
    /// It goes here, if it is taken.
    To(u64),
    /// It faults before it goes anywhere.
    Faults,
    /// Who knows?
    Unknown,
}

/// Runs instructions. There is one in a process, and it stays on its thread: its windows have fixed
/// addresses, and its signal stack is a thread's.
///
/// While it lives, it has the handlers of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGTRAP; signals that do
/// not come from an instruction get the handlers of before. A handler of another signal must run on a
/// signal stack (`SA_ONSTACK`), else it may find the stack pointer of an instruction.
pub struct Oracle {
    // In the order in which they must go.
    _handler: Handler,
    windows: Windows,
    _turn: Turn,
    last: Option<([u8; CODE_LIMIT], usize, Loaded)>,
    snapshot: Box<[u8]>,
    signal: Option<Signal>,
    /// Neither `Send` nor `Sync`.
    _thread: PhantomData<*mut ()>,
}

impl Oracle {
    /// An oracle whose data is zero.
    ///
    /// # Errors
    /// If this process has one, or the kernel refuses what it needs.
    pub fn new() -> Result<Oracle, Unavailable> {
        if exit() < RESERVED.end {
            return Err(Unavailable::Executable);
        }
        let turn = Turn::take()?;
        let windows = Windows::new([exit(), taken()])?;
        Ok(Oracle {
            _handler: Handler::new()?,
            windows,
            _turn: turn,
            last: None,
            snapshot: vec![0; DATA_BYTES].into(),
            signal: None,
            _thread: PhantomData,
        })
    }

    /// The data that stands at [`crate::DATA`] for the instruction. All of it may be written here; of
    /// what an instruction may do with it, see there.
    #[inline]
    pub fn data(&mut self) -> &mut [u8] {
        self.windows.data()
    }

    /// Remembers the data for [`Oracle::restore`] and [`Oracle::changed`].
    pub fn remember(&mut self) {
        self.snapshot.copy_from_slice(self.windows.data());
    }

    /// Makes the data what they were at [`Oracle::remember`] (or zero). Only what an instruction may
    /// write is looked at.
    #[inline]
    pub fn restore(&mut self) {
        if let (Some(now), Some(then)) =
            (self.windows.data().get_mut(..WRITABLE_BYTES), self.snapshot.get(..WRITABLE_BYTES))
        {
            now.copy_from_slice(then);
        }
    }

    /// The smallest range of the data, in bytes from its beginning, outside of which nothing has changed
    /// since [`Oracle::remember`].
    #[inline]
    pub fn changed(&mut self) -> Option<Range<usize>> {
        let now = self.windows.data();
        if *now == *self.snapshot {
            return None;
        }
        let differ = |n: &usize| now.get(*n) != self.snapshot.get(*n);
        let first = (0..DATA_BYTES).find(differ)?;
        let last = (0..DATA_BYTES).rfind(differ)?;
        Some(first..last + 1)
    }

    /// Executes the one instruction that `code` begins with, at `regs.rip`; `regs` is what it starts with
    /// and then what it leaves.
    ///
    /// Bytes behind it are ignored. If the decoder knows no such instruction, the processor is asked
    /// anyway, and may take `hlt`s behind the code for its end.
    ///
    /// # Errors
    /// If it must not or cannot be run; then nothing has changed.
    pub fn run(&mut self, code: &[u8], regs: &mut Regs) -> Result<Outcome, Refused> {
        if let Some((bytes, len, loaded)) = self.last
            && loaded.rip == regs.rip
            && bytes.get(..len) == Some(code)
        {
            return Ok(self.go(&loaded, regs));
        }
        let loaded = self.load(code, regs.rip)?;
        let mut bytes = [0; CODE_LIMIT];
        bytes.iter_mut().zip(code).for_each(|(to, from)| *to = *from);
        self.last = Some((bytes, code.len(), loaded));
        fence();
        Ok(self.go(&loaded, regs))
    }

    /// Puts the instruction that `code` begins with at `rip`, to [`Oracle::go`] there once or often. One
    /// that is overwritten by another is put back when it is run, so nothing but time is lost.
    ///
    /// # Errors
    /// If it must not or cannot be run.
    pub fn load(&mut self, code: &[u8], rip: u64) -> Result<Loaded, Refused> {
        if !(CODE..END).contains(&rip) {
            return Err(Refused::Rip);
        }
        let kind = kind(code, rip)?;
        let own = if let Kind::Straight(len) | Kind::Branch(len, _) = kind { len } else { code.len() };
        let mut loaded = Loaded { rip, kind, bytes: [FILL; CODE_LIMIT + JUMP], len: own };
        loaded.bytes.iter_mut().zip(code).take(own).for_each(|(to, from)| *to = *from);
        let next = rip + own as u64;
        if kind != Kind::Unknown && next + JUMP as u64 <= END {
            let jump = jump(next, EXIT);
            loaded.bytes.iter_mut().skip(own).zip(jump).for_each(|(to, from)| *to = from);
            loaded.len += JUMP;
        } else {
            // It ends in a fault there, whoever is behind.
            loaded.len = loaded.bytes.len();
        }
        self.windows.put(rip, loaded.bytes());
        Ok(loaded)
    }

    /// Executes an instruction; see [`Oracle::run`]. `regs.rip` is where it was loaded, whatever it says.
    pub fn go(&mut self, loaded: &Loaded, regs: &mut Regs) -> Outcome {
        let mut changed = self.windows.ensure(loaded.rip, loaded.bytes());
        let mut stepped = loaded.kind == Kind::Unknown;
        let mut target = 0;
        if let Kind::Branch(len, to) = loaded.kind {
            match self.way(to, regs) {
                Way::To(address) => {
                    target = address;
                    match self.catch(loaded, len, address) {
                        Some(wrote) => changed |= wrote,
                        None => stepped = true,
                    }
                }
                Way::Faults => {}
                Way::Unknown => stepped = true,
            }
        }
        if changed {
            fence();
        }
        let rflags = regs.rflags & SETTABLE | ALWAYS;
        let context = CONTEXT.get();
        // SAFETY: the context is ours alone: there is one oracle, and its handler is not running.
        unsafe {
            (*context).gpr = regs.gpr;
            (*context).rflags = if stepped { rflags | TF } else { rflags };
            (*context).target = loaded.rip;
            (*context).taken = 0;
            (*context).signalled = 0;
        }
        let running = Running::new();
        // SAFETY: the instruction changes general registers and flags only, which `enter` and `step` take
        // care of, and memory: the crate's documentation says which. It ends at a jump of ours or, if it
        // faults, goes where nothing is or is stepped, in the signal handler, which resumes there.
        unsafe { if stepped { step(context) } else { enter(context) } }
        drop(running);
        // SAFETY: as above; the call may have changed it through the pointer.
        self.left(loaded, stepped, target, unsafe { &*context }, regs)
    }

    /// Where a branch will go.
    fn way(&mut self, to: To, regs: &Regs) -> Way {
        let of = |n: usize| regs.gpr.get(n).copied().unwrap_or_default();
        let (base, index, offset, mask) = match to {
            To::Address(address) => return Way::To(address),
            To::Register(n) => return Way::To(of(n)),
            To::Memory { base, index, offset, mask } => (base, index, offset, mask),
        };
        let base = base.map_or(0, of);
        let index = index.map_or(0, |(n, scale)| of(n).wrapping_mul(scale));
        let address = base.wrapping_add(index).wrapping_add(offset) & mask;
        let at = address.wrapping_sub(DATA) as usize;
        if at <= DATA_BYTES - 8
            && let Some(bytes) = self.windows.data().get(at..).and_then(|data| data.first_chunk())
        {
            return Way::To(u64::from_le_bytes(*bytes));
        }
        let code = (CODE - 8..END).contains(&address);
        let ours = (RESERVED.start..RESERVED.end - 8).contains(&address);
        if ours && !code || nowhere(address) { Way::Faults } else { Way::Unknown }
    }

    /// Sees to it that a branch to `target` ends there: says whether code had to be changed, or `None` if
    /// it cannot be done.
    fn catch(&mut self, loaded: &Loaded, len: usize, target: u64) -> Option<bool> {
        let next = loaded.rip + len as u64;
        if !(CODE..END).contains(&target) {
            let caught = target < RESERVED.end || nowhere(target);
            return caught.then_some(false);
        }
        if (loaded.rip..next).contains(&target) {
            return None;
        }
        if target == next {
            return Some(false);
        }
        let jump_end = target + JUMP as u64;
        let apart = target >= loaded.rip + loaded.len as u64 || jump_end <= loaded.rip;
        if apart && jump_end <= END {
            return Some(self.windows.ensure(target, &jump(target, TAKEN_EXIT)));
        }
        // In or before our own jump: faults at both ends.
        let behind = target > next && self.windows.ensure(next, &[FILL]);
        Some(self.windows.ensure(target, &[FILL]) || behind)
    }

    /// The signal that the last instruction ended with, if it did.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    #[inline]
    fn left(
        &mut self,
        loaded: &Loaded,
        stepped: bool,
        target: u64,
        context: &Context,
        regs: &mut Regs,
    ) -> Outcome {
        let next = match loaded.kind {
            Kind::Straight(len) | Kind::Branch(len, _) => loaded.rip + len as u64,
            Kind::Unknown => 0,
        };
        regs.gpr = context.gpr;
        if context.signalled == 0 {
            self.signal = None;
            regs.rip = if context.taken == 0 { next } else { target };
            regs.rflags = context.rflags;
            return Outcome::Done;
        }
        let signal = context.signal;
        self.signal = Some(signal);
        regs.rflags = signal.rflags & !RF;
        regs.rip = signal.rip;
        let outcome = exception(&signal);
        let Outcome::Fault { vector, address, .. } = outcome else { return outcome };
        let traced = vector == 1;
        if stepped {
            assert!(!ours(signal.rip), "a bug of the oracle: {signal:x?}");
            regs.rflags &= !TF;
            return if traced { Outcome::Done } else { outcome };
        }
        if traced && signal.rip == exit() {
            // It has set the trap flag, and our jump has been traced.
            regs.rip = next;
            return Outcome::Done;
        }
        assert!(!ours(signal.rip), "a bug of the oracle: {signal:x?}");
        // It is over, and the fetch of the next one, or our `hlt` there, has faulted.
        let unmapped = vector == 14 && address == Some(signal.rip);
        let halt = vector == 13 && (CODE..END).contains(&signal.rip);
        if signal.rip != loaded.rip && (unmapped || halt) { Outcome::Done } else { outcome }
    }
}

impl Loaded {
    /// The same instruction, to be single-stepped by [`Oracle::go`], which is another way to the same end,
    /// except that the trap flag shows: `pushf` pushes it, and repeated strings stop after one element.
    pub fn stepped(self) -> Loaded {
        Loaded { kind: Kind::Unknown, ..self }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether no process has anything here: the lowest addresses, and what is not canonical.
fn nowhere(address: u64) -> bool {
    address < 0x1_0000 || (1 << 47..0xffff_8000_0000_0000).contains(&address)
}

/// `jmp [rip + n]` for `at`, to what stands at `slot`. (It is far away: what the code there uses is
/// nowhere near what an instruction computes from addresses of the windows.)
fn jump(at: u64, slot: u64) -> [u8; JUMP] {
    let [a, b, c, d] = ((slot - at - JUMP as u64) as u32).to_le_bytes();
    [0xff, 0x25, a, b, c, d]
}

/// Waits until the stores to the code are done, which is faster than to have them noticed by the fetch.
/// Correctness needs only the jumps (SDM volume 3, "Handling Self- and Cross-Modifying Code").
fn fence() {
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_mfence() }
}

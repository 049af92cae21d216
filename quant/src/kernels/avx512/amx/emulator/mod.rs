//! The matrix unit's instructions on machines without one, for tests: a handler of SIGILL that does what they would.
//!
//! ```text
//! on SIGILL:
//!     the bytes at the instruction pointer are one of the unit's instructions ([`decode`]):
//!         do it to this thread's tile registers and to memory ([`state`]), go on behind it
//!         where the unit would have raised a fault: say so, abort
//!     anything else: the handler that was there before, or the default, gets the signal
//! ```
//! Semantics are those of Intel's Software Developer's Manual, volume 2 (the instructions' pages and "AMX instruction
//! set reference"). Nothing here allocates, locks or panics: a handler may run wherever an instruction stands. A thread's
//! registers are its own, as in the processor; the kernel does not know them, so they do not survive a change of context
//! that the unit's would, but no other code of this thread has any.
//!
//! Not emulated: instructions that the kernels do not use, prefixes other than VEX, the saving of a half-done load
//! (`start_row` other than 0), 32-bit addresses.

mod decode;
mod state;
#[cfg(test)]
mod tests;

use decode::{Address, Instruction, Op};
use state::{Fault, Unit};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Once, OnceLock};

thread_local! {
    /// Constant at first and without a destructor, so that a handler may touch it.
    static UNIT: UnsafeCell<Unit> = const { UnsafeCell::new(Unit::RELEASED) };
}

/// What handled the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Emulates from now on, in all threads. Calls after the first change nothing.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handler has the type that SA_SIGINFO asks for, and both structures are whole; zeroes are a
        // sigaction with an empty mask.
        unsafe {
            let mut before: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(libc::SIGILL, ptr::null(), &mut before);
            let _ = BEFORE.set(before);
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handle as *const () as usize;
            // On the thread's own stack: a product takes more than there is on the one for signals.
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, ptr::null_mut());
        }
    });
}

/// Numbers of the general registers 0 to 15 in a signal's context.
const REGISTERS: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn handle(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the context of this thread, which nobody else has now.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = registers[libc::REG_RIP as usize];
    // SAFETY: the processor was about to execute what is there; no byte is read that does not belong to it.
    let Some(found) = (unsafe { decode::decode(rip as *const u8) }) else {
        if let Some(before) = BEFORE.get() {
            // SAFETY: the structure is one that the system gave. The instruction raises the signal again.
            unsafe { libc::sigaction(libc::SIGILL, before, ptr::null_mut()) };
        }
        return;
    };
    let register = |n: u8| registers[REGISTERS[usize::from(n)] as usize] as usize;
    let done = UNIT.with(|unit| {
        // SAFETY: the handler does not interrupt itself (the signal is masked meanwhile), and nothing else takes it.
        let unit = unsafe { &mut *unit.get() };
        // SAFETY: the interrupted code promised the memory that its instruction names.
        unsafe { execute(unit, &found, register) }
    });
    match done {
        Ok(()) => registers[libc::REG_RIP as usize] = rip + found.len as i64,
        Err(fault) => fatal(fault),
    }
}

/// Does what the instruction says.
///
/// # Safety
/// Its memory operand, if any, is what the interrupted code may read or write.
unsafe fn execute(unit: &mut Unit, found: &Instruction, register: impl Fn(u8) -> usize) -> Result<(), Fault> {
    let place = |a: &Address| {
        let base = a.base.map_or(0, &register);
        (base.wrapping_add_signed(a.displacement as isize), a.index.map_or(0, |i| register(i) << a.shift))
    };
    // SAFETY: by the caller; a configuration has 64 bytes, each line of a tile as many as it was configured with.
    unsafe {
        match &found.op {
            Op::Configure(a) => {
                let (at, index) = place(a);
                unit.configure(&*(at.wrapping_add(index) as *const [u8; 64]))
            }
            Op::Release => {
                *unit = Unit::RELEASED;
                Ok(())
            }
            Op::Zero(tile) => unit.zero(*tile),
            Op::Load(tile, a) => {
                let (at, stride) = place(a);
                unit.load(*tile, at as *const u8, stride)
            }
            Op::Store(tile, a) => {
                let (at, stride) = place(a);
                unit.store(*tile, at as *mut u8, stride)
            }
            Op::Multiply { sum, a, b } => unit.multiply_bf16(*sum, *a, *b),
        }
    }
}

/// Ends the process as loudly as a handler may.
fn fatal(fault: Fault) -> ! {
    for part in ["the emulated matrix unit raised a fault: ", fault.0, "\n"] {
        // SAFETY: the bytes are there; what comes of writing them does not matter.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: allowed in a handler.
    unsafe { libc::abort() }
}

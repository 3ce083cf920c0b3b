//! The debug console (SBI specification, "Debug Console Extension").

use crate::error::{Answer, SbiError};
use crate::firmware::Outcome;
use crate::{ConsoleError, Platform};
use isa_riscv::AccessKind;

/// The most bytes that one call writes or reads: it must end soon, whatever the guest asks for.
const MOST: u64 = 1 << 16;
const CHUNK: usize = 1024;

impl From<ConsoleError> for SbiError {
    fn from(error: ConsoleError) -> SbiError {
        match error {
            ConsoleError::Denied => SbiError::Denied,
            ConsoleError::Io => SbiError::Failed,
        }
    }
}

/// The physical range, of which all bytes must be accessible, also those that will not be accessed
/// ("Shared memory physical address range parameter"). An empty one needs no memory.
fn checked<P: Platform>(
    platform: &P,
    size: u64,
    low: u64,
    high: u64,
    access: AccessKind,
) -> Result<u64, SbiError> {
    // Physical addresses have 56 bits, so that nothing is accessible beyond 2^64.
    let good = size == 0 || high == 0 && platform.has_memory(low, size, access);
    good.then_some(size.min(MOST)).ok_or(SbiError::InvalidParam)
}

/// `sbi_debug_console_write`: as many bytes as the console takes now.
pub(crate) fn write<P: Platform>(platform: &mut P, size: u64, low: u64, high: u64) -> Answer {
    let size = checked(platform, size, low, high, AccessKind::Load)?;
    let mut done = 0;
    while done < size {
        let mut buffer = [0; CHUNK];
        let Some((chunk, _)) = buffer.split_at_mut_checked(CHUNK.min((size - done) as usize)) else { break };
        let read = platform.read_memory(low.wrapping_add(done), chunk);
        let taken = match read {
            Ok(()) => platform.console_write(chunk).map_err(SbiError::from),
            Err(_) => Err(SbiError::Failed),
        };
        match taken {
            Ok(count) => {
                done += count.min(chunk.len()) as u64;
                if count < chunk.len() {
                    break;
                }
            }
            // What was written before is the answer; the next call meets the error again.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// `sbi_debug_console_read`: as many bytes as have come, up to `size`.
pub(crate) fn read<P: Platform>(platform: &mut P, size: u64, low: u64, high: u64) -> Answer {
    let size = checked(platform, size, low, high, AccessKind::Store)?;
    let mut done = 0;
    while done < size {
        let mut buffer = [0; CHUNK];
        let Some((chunk, _)) = buffer.split_at_mut_checked(CHUNK.min((size - done) as usize)) else { break };
        let wanted = chunk.len();
        let given = match platform.console_read(chunk) {
            Ok(count) => count.min(wanted),
            Err(_) if done > 0 => break,
            Err(error) => return Err(error.into()),
        };
        let bytes = chunk.get(..given).unwrap_or_default();
        platform.write_memory(low.wrapping_add(done), bytes).map_err(|_| SbiError::Failed)?;
        done += given as u64;
        if given < wanted {
            break;
        }
    }
    Ok(done)
}

/// `sbi_debug_console_write_byte`: blocks the guest, not the VMM, until the console takes the byte.
pub(crate) fn write_byte<P: Platform>(platform: &mut P, byte: u64) -> Outcome {
    match platform.console_write(&[byte as u8]) {
        Ok(0) => Outcome::Retry,
        Ok(_) => Outcome::Return(Ok(0)),
        Err(error) => Outcome::Return(Err(error.into())),
    }
}

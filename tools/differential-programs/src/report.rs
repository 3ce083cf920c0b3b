//! What there is to say of a difference.

use crate::compare::{Pair, Stops, machine};
use crate::engines::Engine;
use crate::machine::{End, State, instruction};
use anyhow::Result;
use differential_core::word_at;
use isa_riscv::disasm::{F_NAMES, X_NAMES, disassemble, length};
use isa_riscv::{Hart, Mode};
use random_programs::{Program, image};
use std::fmt::Write;

/// Instructions before the difference that are shown.
const BEFORE: u64 = 12;
/// Instructions of the code around it.
const AROUND: u64 = 6;
/// Words of memory that are shown.
const WORDS: usize = 8;

/// Describes the difference after `at` instructions.
///
/// # Errors
/// If the host gives no memory.
pub fn difference(pair: &Pair, program: &Program, stops: &Stops, at: u64) -> Result<String> {
    let mut text = String::new();
    let Some((a, b)) = pair.states(program, stops, at)? else { return Ok(text) };
    let (first, second) = (pair.first.name, pair.second.name);
    let _ = writeln!(text, "after {at} instructions, {first} and {second} differ:");
    for (what, x, y) in items(&a, &b, program.slot) {
        let _ = writeln!(text, "    {what:<24} {first} {x:<20} {second} {y}");
    }
    let _ = writeln!(text, "  what {first} executes there:");
    text.push_str(&executed(pair.first, program, at.saturating_sub(BEFORE), at)?);
    if let Some((before, _)) = pair.states(program, stops, at - 1)? {
        let _ = writeln!(text, "  the code around the last one:");
        text.push_str(&around(&before.memory, before.hart.pc));
    }
    Ok(text)
}

/// The instructions from one count to another as `engine` runs them.
///
/// # Errors
/// If the host gives no memory.
pub fn executed(engine: Engine, program: &Program, from: u64, to: u64) -> Result<String> {
    let mut text = String::new();
    let Some(image) = image(program, None) else { return Ok(text) };
    let mut machine = machine(engine, program, &image)?;
    machine.run_to(from);
    for step in from..to {
        if *machine.end() != End::Stop {
            let _ = writeln!(text, "{step:>8} {:?}", machine.end());
            break;
        }
        let state = machine.state();
        machine.run_to(step + 1);
        let after = machine.cpu.state();
        let changed = (1..32).filter(|&i| after.x[i] != state.hart.x[i]);
        let changed: String = changed.map(|i| format!("  {}={:#x}", X_NAMES[i], after.x[i])).collect();
        let _ = writeln!(text, "{step:>8} {:<44}{changed}", line(&state.hart, &state.memory));
    }
    Ok(text)
}

/// The code around `last`.
fn around(memory: &[u8], last: u64) -> String {
    let mut text = String::new();
    // Backwards, instructions have no beginning; this is near enough.
    let (mut pc, end) = (last.saturating_sub(4 * AROUND), last + 4 * AROUND);
    while pc < end {
        let size = u64::from(length(word(memory, pc)));
        if pc < last && pc + size > last {
            pc = last;
        }
        let mark = if pc == last { '>' } else { ' ' };
        let word = word(memory, pc);
        let _ = writeln!(text, "  {mark} {pc:#x}: {}", disassemble(word, pc));
        pc += u64::from(length(word));
    }
    text
}

/// The instruction at `pc` in the slot's `memory`.
fn word(memory: &[u8], pc: u64) -> u32 {
    instruction(pc, |at| word_at(memory, at) & 0xffff)
}

fn line(hart: &Hart, memory: &[u8]) -> String {
    let pc = hart.pc;
    let mode = match hart.mode {
        Mode::M => 'M',
        Mode::S => 'S',
        Mode::U => 'U',
    };
    format!("{mode} {pc:#x}: {}", disassemble(word(memory, pc), pc))
}

/// The things that differ, with both values.
fn items(a: &State, b: &State, slot: u64) -> Vec<(String, String, String)> {
    let mut items = Vec::new();
    let mut put = |what: String, x: String, y: String| {
        if x != y {
            items.push((what, x, y));
        }
    };
    put("end".into(), format!("{:?}", a.end), format!("{:?}", b.end));
    put("retired".into(), a.retired.to_string(), b.retired.to_string());
    put("pc".into(), format!("{:#x}", a.hart.pc), format!("{:#x}", b.hart.pc));
    put("mode".into(), format!("{:?}", a.hart.mode), format!("{:?}", b.hart.mode));
    for i in 0..32 {
        put(X_NAMES[i].into(), format!("{:#x}", a.hart.x[i]), format!("{:#x}", b.hart.x[i]));
        put(F_NAMES[i].into(), format!("{:#x}", a.hart.f[i]), format!("{:#x}", b.hart.f[i]));
    }
    // The CSRs, field by field, as their debug form has them.
    let lines =
        |hart: &Hart| -> Vec<String> { format!("{:#x?}", hart.csr).lines().map(str::to_string).collect() };
    for (x, y) in lines(&a.hart).into_iter().zip(lines(&b.hart)) {
        let (name, x) = x.split_once(':').map_or(("", x.as_str()), |(n, v)| (n.trim(), v.trim()));
        put(format!("csr {name}"), x.into(), y.split_once(':').map_or(y.as_str(), |(_, v)| v.trim()).into());
    }
    put("guest time".into(), a.now.to_string(), b.now.to_string());
    put("output".into(), format!("{:?}", tail(&a.output)), format!("{:?}", tail(&b.output)));
    put("mtime and lines".into(), format!("{:x?}", a.clint), format!("{:x?}", b.clint));
    let words = a.memory.chunks(8).zip(b.memory.chunks(8)).enumerate().filter(|(_, (x, y))| x != y);
    for (i, (x, y)) in words.take(WORDS) {
        let value = |bytes: &[u8]| format!("{:#x}", word_at(bytes, 0));
        let at = 8 * i as u64;
        put(format!("memory {:#x} (slot+{at:#x})", slot + at), value(x), value(y));
    }
    items
}

fn tail(bytes: &[u8]) -> String {
    format!("{} bytes, ...{}", bytes.len(), String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(16)..]))
}

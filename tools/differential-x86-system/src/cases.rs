//! Random cases: a few instructions each, that load segments, transfer control, or reach memory through a drawn entry.

use crate::drawn::{Drawn, Random};
use crate::layout::*;
use anyhow::Result;
use iced_x86::code_asm::*;

type Built = Result<(), IcedError>;

/// `iretq` to user mode, right behind.
fn enter_user(a: &mut CodeAssembler, flags: i32) -> Built {
    let mut there = a.create_label();
    a.push(i32::from(USER_DATA))?;
    a.push(USER_STACK as i32)?;
    a.push(flags)?;
    a.push(i32::from(USER_CODE))?;
    a.lea(rax, qword_ptr(there))?;
    a.push(rax)?;
    a.db(&[0x48, 0xcf])?;
    a.set_label(&mut there)
}

/// One of six segment loads.
fn load_segment(r: &mut Random, a: &mut CodeAssembler) -> Built {
    let register = r.pick(&[es, ds, fs, gs, ss]);
    let selector = if register == ss { r.stack_selector() } else { r.selector() };
    a.mov(eax, i32::from(selector))?;
    a.mov(register, eax)
}

fn describe(r: &mut Random, a: &mut CodeAssembler) -> Built {
    a.mov(eax, i32::from(r.selector()))?;
    match r.below(5) {
        0 => a.lar(rbx, rax)?,
        1 => a.lsl(ebx, eax)?,
        2 => a.verr(ax)?,
        3 => a.verw(ax)?,
        _ => a.lar(bx, ax)?,
    }
    a.pushfq()?;
    a.pop(rcx)
}

/// A far jump, call or return, to code that ends the case.
fn far(r: &mut Random, a: &mut CodeAssembler) -> Built {
    let mut there = a.create_label();
    // Not to an address that is not canonical: QEMU faults only when it is there.
    a.lea(rbx, qword_ptr(there))?;
    let selector = i32::from(r.selector());
    match r.below(5) {
        0 | 1 => {
            // call and jmp through memory: m16:64, m16:32
            a.push(selector)?;
            a.push(rbx)?;
            a.db(r.pick(&[b"\x48\xff\x1c\x24" as &[u8], b"\x48\xff\x2c\x24"]))?;
        }
        2 => {
            a.mov(dword_ptr(rsp - 32), ebx)?;
            a.mov(word_ptr(rsp - 28), selector)?;
            a.db(r.pick(&[b"\xff\x5c\x24\xe0" as &[u8], b"\xff\x6c\x24\xe0"]))?;
        }
        3 => {
            // retfq, with an outer stack ready
            a.push(i32::from(r.stack_selector()))?;
            a.push(USER_STACK as i32)?;
            a.push(selector)?;
            a.push(rbx)?;
            a.db(&[0x48, 0xcb])?;
        }
        _ => {
            // retf of 32 bits
            a.mov(dword_ptr(rsp - 16), ebx)?;
            a.mov(dword_ptr(rsp - 12), selector)?;
            a.mov(dword_ptr(rsp - 8), USER_STACK as i32)?;
            a.mov(dword_ptr(rsp - 4), i32::from(r.stack_selector()))?;
            a.sub(rsp, 16)?;
            a.db(&[0xcb])?;
        }
    }
    a.set_label(&mut there)?;
    a.int(i32::from(DONE))
}

fn iret(r: &mut Random, a: &mut CodeAssembler) -> Built {
    let mut there = a.create_label();
    a.lea(rbx, qword_ptr(there))?;
    let good = r.chance(30);
    let (code, data) = if good { (USER_CODE, USER_DATA) } else { (r.selector(), r.stack_selector()) };
    // TF would step through the driver; NT and VM are drawn seldom.
    let mut flags = r.bits() as i32 & 0x0024_3ed5;
    if r.chance(10) {
        // VM is seen by QEMU in long mode too, where it should not be.
        flags |= r.pick(&[0x4000, 0x1_0000]);
    }
    if r.chance(70) {
        a.push(i32::from(data))?;
        a.push(if r.chance(90) { USER_STACK as i32 } else { -1 })?;
        a.push(flags)?;
        a.push(i32::from(code))?;
        a.push(rbx)?;
        a.db(&[0x48, 0xcf])?;
    } else {
        a.sub(rsp, 32)?;
        a.mov(dword_ptr(rsp), ebx)?;
        a.mov(dword_ptr(rsp + 4), i32::from(code))?;
        a.mov(dword_ptr(rsp + 8), flags)?;
        a.mov(dword_ptr(rsp + 12), USER_STACK as i32)?;
        a.mov(dword_ptr(rsp + 16), i32::from(data))?;
        a.db(&[0xcf])?;
    }
    a.set_label(&mut there)?;
    a.int(i32::from(DONE))
}

fn flags(r: &mut Random, a: &mut CodeAssembler) -> Built {
    let value = r.bits() as i32 & 0x0024_7ed5;
    match r.below(4) {
        0 => a.cli()?,
        1 => a.sti()?,
        2 => {
            a.push(value)?;
            a.db(&[0x66, 0x9d])?; // popf of 16 bits, two bytes of the eight
            a.add(rsp, 6)?;
        }
        _ => {
            a.push(value)?;
            a.popfq()?;
        }
    }
    a.pushfq()?;
    a.pop(rbx)
}

/// An access of the page whose entry was drawn, under drawn controls.
fn page(r: &mut Random, a: &mut CodeAssembler, user: bool) -> Built {
    let mut bits = r.bits() & (1 | 2 | 4 | 0x20 | 0x40 | 0x100) | u64::from(r.chance(70));
    if r.chance(30) {
        bits |= 1 << 63;
    }
    if r.chance(10) {
        bits |= 1 << 51;
    }
    a.mov(rcx, PAGE | bits)?;
    a.mov(qword_ptr(PT + (PAGE >> 12) * 8), rcx)?;
    a.invlpg(byte_ptr(PAGE))?;
    let efer = 0x501u32 | if r.chance(80) { 0x800 } else { 0 };
    a.mov(ecx, 0xc000_0080u32)?;
    a.mov(eax, efer)?;
    a.xor(edx, edx)?;
    a.wrmsr()?;
    a.mov(eax, if r.chance(60) { 0x8001_0033u32 } else { 0x8000_0033 })?;
    a.mov(cr0, rax)?;
    // The case itself lies in user pages, where SMEP would stop it.
    let smap = if user { r.pick(&[0, 1 << 20, 1 << 21, 3 << 20]) } else { r.pick(&[0, 1 << 21]) };
    if user {
        // Set on the way: `enter_user` has its own code here, so SMEP is left out at level 0.
        a.mov(eax, 0x620 | (smap & 1 << 21))?;
        a.mov(cr4, rax)?;
        enter_user(a, 0x202 | if r.chance(30) { 1 << 18 } else { 0 })?;
    } else {
        a.mov(eax, 0x620 | smap)?;
        a.mov(cr4, rax)?;
        if smap != 0 && r.chance(50) {
            a.stac()?;
        }
    }
    let at = PAGE + r.below(8);
    match r.below(5) {
        0 => a.mov(rbx, qword_ptr(at)),
        1 => a.mov(qword_ptr(at), rbx),
        2 => a.add(dword_ptr(at), ebx),
        3 => {
            a.mov(ebx, at as u32)?;
            a.jmp(rbx)
        }
        _ => a.lock().xadd(qword_ptr(PAGE), rbx),
    }
}

fn calls(r: &mut Random, a: &mut CodeAssembler) -> Built {
    match r.below(5) {
        0 => a.syscall(),
        1 => a.sysenter(),
        2 => {
            let mut there = a.create_label();
            a.lea(rcx, qword_ptr(there))?;
            a.mov(r11d, r.bits() as i32 & 0x0024_3ed5)?;
            a.db(r.pick(&[b"\x48\x0f\x07" as &[u8], b"\x0f\x07"]))?;
            a.set_label(&mut there)?;
            a.int(i32::from(DONE))
        }
        3 => {
            let mut there = a.create_label();
            a.lea(rdx, qword_ptr(there))?;
            a.mov(ecx, USER_STACK as i32)?;
            a.db(r.pick(&[b"\x48\x0f\x35" as &[u8], b"\x0f\x35"]))?;
            a.set_label(&mut there)?;
            a.int(i32::from(DONE))
        }
        _ => a.swapgs(),
    }
}

fn privileged(r: &mut Random, a: &mut CodeAssembler) -> Built {
    a.mov(eax, r.pick(&[0i32, 1, 0x8000_0033u32 as i32, 0x10]))?;
    // Not `wbinvd` at level 3: that is #GP(0), which QEMU leaves out.
    match r.below(15) {
        0 => {
            // Not above 15: that is #GP(0), which QEMU leaves out.
            a.and(eax, 15)?;
            a.mov(cr8, rax)
        }
        1 => a.mov(rbx, cr4),
        2 => a.mov(dr0, rax),
        3 => a.mov(rbx, dr7),
        4 => a.clts(),
        5 => a.hlt_at_user(),
        6 => a.invlpg(byte_ptr(rax)),
        7 => a.smsw(rbx),
        8 => a.sgdt(tbyte_ptr(rsp - 64)),
        9 => a.sldt(rbx),
        10 => a.str(rbx),
        11 => a.in_(al, dx),
        12 => {
            // A register that there is: QEMU does not refuse others.
            a.mov(ecx, r.pick(&[0x174u32, 0x175, 0x277, 0xc000_0081, 0xc000_0084]))?;
            a.rdmsr()
        }
        13 => a.ud2(),
        _ => a.lmsw(ax),
    }
}

/// Instructions that only user code tries, so that a case ends.
trait Extra {
    fn hlt_at_user(&mut self) -> Built;
}

impl Extra for CodeAssembler {
    fn hlt_at_user(&mut self) -> Built {
        let mut kernel = self.create_label();
        self.mov(bx, cs)?;
        self.test(bl, 3)?;
        self.jz(kernel)?;
        self.hlt()?;
        self.set_label(&mut kernel)?;
        self.nop()
    }
}

/// A case; and its kind's name.
pub fn case(r: &mut Random, at: u64) -> Result<(&'static str, Vec<u8>)> {
    let mut name = "";
    let code = crate::program::assemble(64, at, |a| {
        let user = r.chance(50);
        let kind = r.below(10);
        if kind == 9 {
            name = if user { "page, user" } else { "page" };
            page(r, a, user)?;
            return a.int(i32::from(DONE));
        }
        if user {
            enter_user(a, r.pick(&[2, 0x202, 0x3202, 0x3002, 0x1002]))?;
        }
        name = match (kind, user) {
            (0 | 1, _) => "segment",
            (2, _) => "describe",
            (3 | 4, _) => "far",
            (5, _) => "iret",
            (6, _) => "flags",
            (7, _) => "gate",
            (_, _) => "call or privileged",
        };
        match kind {
            0 | 1 => load_segment(r, a)?,
            2 => describe(r, a)?,
            3 | 4 => far(r, a)?,
            5 => iret(r, a)?,
            6 => flags(r, a)?,
            7 => a.int(i32::from(GATES) + r.below(8) as i32)?,
            _ if r.chance(50) => calls(r, a)?,
            _ => privileged(r, a)?,
        }
        if !user && kind == 0 && r.chance(20) {
            a.mov(eax, i32::from(r.selector()))?;
            a.lldt(ax)?;
            load_segment(r, a)?;
        }
        a.int(i32::from(DONE))
    })?;
    Ok((name, code))
}

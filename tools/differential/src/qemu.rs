//! QEMU as the other side: which programs, which processor.

/// User-mode emulation.
pub const USER: &str = "qemu-riscv64";
/// Whole machines.
pub const SYSTEM: &str = "qemu-system-riscv64";

/// The processor: what Hostel's rows and CSRs are, neither more nor less. QEMU's `rv64` has RV64GC, Zba,
/// Zbb, Zbc, Zbs, Zicbom, Zicbop, Zicboz, Sstc and Svadu on its own.
pub const CPU: &str = "rv64,zfh=true,zicond=true,svinval=true,svnapot=true,svpbmt=true,\
                       h=false,zawrs=false,zfa=false,debug=false,pmu-mask=0xfffffff8";

/// Why the other side cannot be asked, if it cannot.
pub fn missing(program: &str) -> Option<String> {
    let package = if program == USER { "qemu-user" } else { "qemu-system-misc (trixie: qemu-system-riscv)" };
    differential_core::missing(program, package)
}

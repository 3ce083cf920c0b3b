//! Tiny guests for tests: programs as the words that GNU as makes of the listings beside them, and files around them.
#![allow(dead_code, reason = "each test file uses some of it")]

use rustix::process::{Pid, Signal, kill_process};
use snapbox::cmd::{Command, cargo_bin};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Writes 0x5555 (FINISHER_PASS) to the test finisher.
pub const OFF: &[u32] = &[
    0x0010_02b7, // lui   t0, 0x100
    0x0000_5337, // lui   t1, 0x5
    0x5553_0313, // addi  t1, t1, 0x555
    0x0062_a023, // sw    t1, 0(t0)
    0x0000_006f, // j     .
];

/// Writes 0x73333 to the test finisher: failure (0x3333) with code 7.
pub const FAIL_7: &[u32] = &[
    0x0010_02b7, // lui   t0, 0x100
    0x0007_3337, // lui   t1, 0x73
    0x3333_0313, // addi  t1, t1, 0x333
    0x0062_a023, // sw    t1, 0(t0)
    0x0000_006f, // j     .
];

/// The same with code 0, which is no failure: 0x3333.
pub const FAIL_0: &[u32] = &[
    0x0010_02b7, // lui   t0, 0x100
    0x0000_3337, // lui   t1, 0x3
    0x3333_0313, // addi  t1, t1, 0x333
    0x0062_a023, // sw    t1, 0(t0)
    0x0000_006f, // j     .
];

/// The same with code 0x100, which no process can pass on: 0x1003333.
pub const FAIL_256: &[u32] = &[
    0x0010_02b7, // lui   t0, 0x100
    0x0100_3337, // lui   t1, 0x1003
    0x3333_0313, // addi  t1, t1, 0x333
    0x0062_a023, // sw    t1, 0(t0)
    0x0000_006f, // j     .
];

/// Jumps to address 0, where nothing is.
pub const NOTHING: &[u32] = &[0x0000_0067]; // jr zero

/// Sends '>', then every byte back that the 16550A receives. 'r' resets the machine after that, 'x' powers it off.
pub const ECHO: &[u32] = &[
    0x1000_02b7, //    lui   t0, 0x10000
    0x0010_0e37, //    lui   t3, 0x100
    0x03e0_0313, //    li    t1, '>'
    0x0062_8023, //    sb    t1, 0(t0)
    0x0052_c303, // 1: lbu   t1, 5(t0)      LSR
    0x0013_7313, //    andi  t1, t1, 1      data ready
    0xfe03_0ce3, //    beqz  t1, 1b
    0x0002_c303, //    lbu   t1, 0(t0)
    0x0062_8023, //    sb    t1, 0(t0)
    0x0720_0393, //    li    t2, 'r'
    0x0073_1863, //    bne   t1, t2, 2f
    0x0000_7337, //    lui   t1, 0x7
    0x7773_0313, //    addi  t1, t1, 0x777
    0x006e_2023, //    sw    t1, 0(t3)      FINISHER_RESET
    0x0780_0393, // 2: li    t2, 'x'
    0xfc73_1ae3, //    bne   t1, t2, 1b
    0x0000_5337, //    lui   t1, 0x5
    0x5553_0313, //    addi  t1, t1, 0x555
    0x006e_2023, //    sw    t1, 0(t3)      FINISHER_PASS
    0x0000_006f, //    j     .
];

/// For SiFive's board, in hart 1: sends '0' and '1' through its two UARTs, then through the first what comes to the
/// second, until that is an 'x', at which it powers off.
pub const LINES: &[u32] = &[
    0xf140_22f3, // csrr t0,mhartid
    0x0010_0313, // li t1,1
    0x0462_9663, // bne t0,t1,54
    0x1001_0437, // lui s0,0x10010
    0x1001_14b7, // lui s1,0x10011
    0x0064_2423, // sw t1,8(s0)
    0x0064_a423, // sw t1,8(s1)
    0x0064_a623, // sw t1,12(s1)
    0x0300_0393, // li t2,48
    0x0074_2023, // sw t2,0(s0)
    0x0310_0393, // li t2,49
    0x0074_a023, // sw t2,0(s1)
    0x0780_0e13, // li t3,120
    0x0044_a383, // lw t2,4(s1)
    0xfe03_cee3, // bltz t2,34
    0x0074_2023, // sw t2,0(s0)
    0xffc3_9ae3, // bne t2,t3,34
    0x0010_02b7, // lui t0,0x100
    0x0000_5337, // lui t1,0x5
    0x5553_0313, // add t1,t1,1365
    0x0062_a023, // sw t1,0(t0)
    0x1050_0073, // wfi
    0xffdf_f06f, // j 54
];

/// Sends bytes for ever.
pub const FLOOD: &[u32] = &[
    0x1000_02b7, //    lui   t0, 0x10000
    0x0410_0313, //    li    t1, 'A'
    0x0062_8023, // 1: sb    t1, 0(t0)
    0xffdf_f06f, //    j     1b
];

/// The power button's driver: sets up the event queue of the second virtio place, where a machine without disks has it, with four
/// buffers, and sends '>'. When they have come back, it powers off if the first is the power key going down, else ends with code 7.
pub const BUTTON: &[u32] = &[
    0x0001_0397, //    auipc t2, 0x10
    0x1000_22b7, //    lui   t0, 0x10002
    0x0602_a823, //    sw    zero, 0x70(t0)
    0x0010_0313, //    li    t1, 1
    0x0662_a823, //    sw    t1, 0x70(t0)
    0x0262_a223, //    sw    t1, 0x24(t0)
    0x0262_a023, //    sw    t1, 0x20(t0)
    0x0030_0313, //    li    t1, 3
    0x0662_a823, //    sw    t1, 0x70(t0)
    0x00b0_0313, //    li    t1, 11
    0x0662_a823, //    sw    t1, 0x70(t0)
    0x0202_a823, //    sw    zero, 0x30(t0)
    0x0040_0313, //    li    t1, 4
    0x0262_ac23, //    sw    t1, 0x38(t0)
    0x0872_a023, //    sw    t2, 0x80(t0)
    0x0000_1e37, //    lui   t3, 1
    0x01c3_8eb3, //    add   t4, t2, t3
    0x09d2_a823, //    sw    t4, 0x90(t0)
    0x01ce_8f33, //    add   t5, t4, t3
    0x0be2_a023, //    sw    t5, 0xa0(t0)
    0x0010_0313, //    li    t1, 1
    0x0462_a223, //    sw    t1, 0x44(t0)
    0x00f0_0313, //    li    t1, 15
    0x0662_a823, //    sw    t1, 0x70(t0)
    0x01cf_0fb3, //    add   t6, t5, t3
    0x0040_0513, //    li    a0, 4
    0x000f_8593, //    mv    a1, t6
    0x0080_0613, //    li    a2, 8
    0x0020_0693, //    li    a3, 2
    0x00b3_b023, // 1: sd    a1, 0(t2)
    0x00c3_a423, //    sw    a2, 8(t2)
    0x00d3_9623, //    sh    a3, 12(t2)
    0x0085_8593, //    addi  a1, a1, 8
    0x0103_8393, //    addi  t2, t2, 16
    0xfff5_0513, //    addi  a0, a0, -1
    0xfe05_14e3, //    bnez  a0, 1b
    0x0010_0513, //    li    a0, 1
    0x00ae_9323, //    sh    a0, 6(t4)
    0x0020_0513, //    li    a0, 2
    0x00ae_9423, //    sh    a0, 8(t4)
    0x0030_0513, //    li    a0, 3
    0x00ae_9523, //    sh    a0, 10(t4)
    0x0040_0513, //    li    a0, 4
    0x0ff0_000f, //    fence
    0x00ae_9123, //    sh    a0, 2(t4)
    0x0ff0_000f, //    fence
    0x0402_a823, //    sw    zero, 0x50(t0)
    0x1000_05b7, //    lui   a1, 0x10000
    0x03e0_0613, //    li    a2, '>'
    0x00c5_8023, //    sb    a2, 0(a1)
    0x002f_5583, // 2: lhu   a1, 2(t5)
    0xfea5_9ee3, //    bne   a1, a0, 2b
    0x000f_b583, //    ld    a1, 0(t6)
    0x0074_0637, //    lui   a2, 0x740
    0x0016_0613, //    addi  a2, a2, 1
    0x01e5_1693, //    slli  a3, a0, 30
    0x00d6_0633, //    add   a2, a2, a3
    0x0010_0737, //    lui   a4, 0x100
    0x00c5_9a63, //    bne   a1, a2, 3f
    0x0000_5337, //    lui   t1, 5
    0x5553_0313, //    addi  t1, t1, 0x555
    0x0067_2023, //    sw    t1, 0(a4)
    0x0000_006f, //    j     .
    0x0007_3337, // 3: lui   t1, 0x73
    0x3333_0313, //    addi  t1, t1, 0x333
    0x0067_2023, //    sw    t1, 0(a4)
    0x0000_006f, //    j     .
];

/// Waits for ever.
pub const WAIT: &[u32] = &[
    0x1050_0073, // 1: wfi
    0xffdf_f06f, //    j     1b
];

/// Writes 7 to the word 0x1000 behind it: exit with code 3 where that word is `tohost`.
pub const TOHOST_3: &[u32] = &[
    0x0000_1297, // auipc t0, 1
    0x0070_0313, // li    t1, 7
    0x0062_b023, // sd    t1, 0(t0)
    0x0000_006f, // j     .
];

/// HTIF's console, with `tohost` 0x1000 and `fromhost` 0x1040 behind it: writes "hi", reads a character, writes that,
/// and exits with code 3.
pub const HTIF_HI: &[u32] = &[
    0x0000_1417, // auipc s0,0x1
    0x1010_0493, // addi s1,zero,257
    0x0304_9493, // slli s1,s1,0x30
    0x0684_e293, // ori t0,s1,104
    0x03c0_00ef, // jal ra,4c
    0x0694_e293, // ori t0,s1,105
    0x0340_00ef, // jal ra,4c
    0x0010_0293, // addi t0,zero,1
    0x0382_9293, // slli t0,t0,0x38
    0x0280_00ef, // jal ra,4c
    0x0404_3303, // ld t1,64(s0)
    0xfe03_0ee3, // beq t1,zero,28
    0x0404_3023, // sd zero,64(s0)
    0x0ff3_7313, // andi t1,t1,255
    0x0064_e2b3, // or t0,s1,t1
    0x0100_00ef, // jal ra,4c
    0x0070_0293, // addi t0,zero,7
    0x0054_3023, // sd t0,0(s0)
    0x0000_006f, // jal zero,48
    0x0054_3023, // sd t0,0(s0)
    0x0004_3303, // ld t1,0(s0)
    0xfe03_1ee3, // bne t1,zero,50
    0x0000_8067, // jalr zero,0(ra)
];

/// Says `h` through HTIF and exits with code 3, by an atomic; uses the memory behind `tohost` before.
pub const HTIF_H: &[u32] = &[
    0x0000_1297, // auipc     t0, 1
    0x0082_b303, // ld        t1, 8(t0)
    0x0062_b823, // sd        t1, 16(t0)
    0x0002_a02f, // amoadd.w  zero, zero, (t0)
    0x1010_0313, // li        t1, 0x101
    0x0303_1313, // slli      t1, t1, 48
    0x0683_0313, // addi      t1, t1, 'h'
    0x0062_b023, // sd        t1, 0(t0)
    0x0070_0313, // li        t1, 7
    0x4062_b3af, // amoor.d   t2, t1, (t0)
    0x0000_006f, // j         .
];

/// Where RAM starts on every board.
pub const RAM: u64 = 0x8000_0000;
/// ELF `e_machine` of RISC-V and of x86-64.
pub const EM_RISCV: u16 = 243;
pub const EM_X86_64: u16 = 62;

/// The bytes of a program.
pub fn flat(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An ELF executable of one segment at [`RAM`], with absolute symbols.
pub fn elf(machine: u16, code: &[u8], symbols: &[(&str, u64)]) -> Vec<u8> {
    const HEADERS: usize = 64 + 56;
    let mut strings = vec![0];
    let mut table = vec![0; 24];
    for (name, value) in symbols {
        table.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
        table.extend([0x10, 0]); // STB_GLOBAL, STT_NOTYPE
        table.extend(0xfff1_u16.to_le_bytes()); // SHN_ABS
        table.extend(value.to_le_bytes());
        table.extend(8_u64.to_le_bytes());
        strings.extend(name.bytes().chain([0]));
    }
    let table_at = HEADERS + code.len().next_multiple_of(8);
    let strings_at = table_at + table.len();
    let sections_at = (strings_at + strings.len()).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    half(&mut file, &[2, machine, 1, 0]); // ET_EXEC, EV_CURRENT
    long(&mut file, &[RAM, 64, sections_at as u64]);
    half(&mut file, &[0, 0, 64, 56, 1, 64, 3, 2]);
    half(&mut file, &[1, 0, 5, 0]); // PT_LOAD, R+X
    long(&mut file, &[HEADERS as u64, RAM, RAM, code.len() as u64, code.len() as u64, 8]);
    file.extend(code);
    file.resize(table_at, 0);
    file.extend(&table);
    file.extend(&strings);
    file.resize(sections_at + 64, 0);
    // SHT_SYMTAB, then SHT_STRTAB.
    for (kind, at, len, link, info, entry) in
        [(2_u32, table_at, table.len(), 2_u32, 1_u32, 24_u64), (3, strings_at, strings.len(), 0, 0, 0)]
    {
        file.extend(0_u32.to_le_bytes());
        file.extend(kind.to_le_bytes());
        long(&mut file, &[0, 0, at as u64, len as u64]);
        file.extend(link.to_le_bytes());
        file.extend(info.to_le_bytes());
        long(&mut file, &[1, entry]);
    }
    file
}

/// Powers the machine off, by `microvm`'s power port; the same bytes in 32-bit and in 64-bit mode.
pub const POWER_OFF: &[u8] = &[
    0x66, 0xba, 0x04, 0x06, // mov  dx, 0x604
    0x66, 0xb8, 0x00, 0x20, // mov  ax, 0x2000
    0x66, 0xef, //             out  dx, ax
    0xeb, 0xfe, //             jmp  .
];

/// Ends the machine with status 2 * 3 + 1 through the debug exit.
pub const EXIT_7: &[u8] = &[
    0xb0, 0x03, // mov  al, 3
    0xe6, 0xf4, // out  0xf4, al
    0xeb, 0xfe, // jmp  .
];

/// Where [`noted`] puts its code.
pub const LOAD: u64 = 0x10_0000;

/// Puts bytes into a file.
pub fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An executable at [`LOAD`] with one note: its type and its description, which begins at byte 0x100.
pub fn noted(kind: u32, description: &[u8], code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 0x200];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    let halves = [2, EM_X86_64, 1, 0].map(u16::to_le_bytes).concat(); // ET_EXEC, EV_CURRENT
    put(&mut file, 0x10, &halves);
    put(&mut file, 0x18, &[LOAD, 64, 0].map(u64::to_le_bytes).concat());
    put(&mut file, 0x34, &[64, 56, 2, 64, 0, 0].map(u16::to_le_bytes).concat());
    let note = 16 + description.len() as u64;
    // PT_LOAD, R+X, then PT_NOTE, R.
    for (n, kind, offset, size, align) in
        [(0, [1_u32, 5], 0x200, code.len() as u64, 8), (1, [4, 4], 0xf0, note, 4)]
    {
        let at = 0x40 + 56 * n;
        put(&mut file, at, &kind.map(u32::to_le_bytes).concat());
        put(&mut file, at + 8, &[offset, LOAD, LOAD, size, size, align].map(u64::to_le_bytes).concat());
    }
    put(&mut file, 0xf0, &[4, description.len() as u32, kind].map(u32::to_le_bytes).concat());
    put(&mut file, 0xfc, b"Xen\0");
    put(&mut file, 0x100, description);
    file.extend(code);
    file
}

/// An executable with a PVH entry.
pub fn pvh(code: &[u8]) -> Vec<u8> {
    noted(18, &(LOAD as u32).to_le_bytes(), code)
}

/// A running `hostel`, which does not outlive a test that fails.
pub struct Running(pub Child);

impl Running {
    /// Waits for the end, but not for ever.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "hostel does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of files for one test; the cache is in it too, so nothing of the user's is read.
pub struct Files(tempfile::TempDir);

impl Files {
    /// An empty one.
    pub fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub fn add(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Puts a guest into the cache whose kernel is this program.
    pub fn cache(&self, name: &str, kernel: &[u32]) {
        let files = [("vmlinux", "kernel", &flat(kernel)[..]), ("initramfs.cpio", "initrd", b"070701")];
        self.cache_files(name, &files);
    }

    /// Puts a guest into the cache that has a disk of these bytes, too.
    pub fn cache_with_disk(&self, name: &str, kernel: &[u32], disk: &[u8]) {
        let files = [
            ("vmlinux", "kernel", &flat(kernel)[..]),
            ("initramfs.cpio", "initrd", b"070701"),
            ("root.raw", "disk", disk),
        ];
        self.cache_files(name, &files);
    }

    /// Puts an image into the cache that is no guest.
    pub fn cache_firmware(&self, name: &str) {
        self.cache_files(name, &[("fw.bin", "firmware", b"code")]);
    }

    /// The form is that of `host-image`'s manifest.
    fn cache_files(&self, name: &str, contents: &[(&str, &str, &[u8])]) {
        let mut manifest = format!(
            "format = 1\nrecipe = 1\nname = \"{name}\"\ndirectory = \"d\"\nfetched = \"\"\nappend = \"\"\npackage = []\n\
             [archive]\nmirror = \"\"\nsuite = \"\"\ncodename = \"\"\nversion = \"\"\ndate = \"\"\n"
        );
        for (file, role, bytes) in contents {
            manifest += &format!(
                "[[file]]\nname = \"{file}\"\nrole = \"{role}\"\nsize = {}\nsha256 = \"\"\n",
                bytes.len()
            );
            self.add(&format!("cache/hostel/v1/files/{name}/d/{file}"), bytes);
        }
        self.add(&format!("cache/hostel/v1/{name}.toml"), manifest);
    }

    /// `hostel` with these arguments, in the directory.
    pub fn hostel(&self, arguments: &[&str]) -> Command {
        Command::new(cargo_bin!("hostel"))
            .current_dir(self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .timeout(Duration::from_secs(20))
            .args(arguments)
    }

    /// Runs `hostel`, which fails and says one line.
    #[track_caller]
    pub fn wrong(&self, arguments: &[&str], expected: impl snapbox::IntoData) {
        let assert = self.hostel(arguments).assert().code(125).stdout_eq("");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        let line = said.strip_prefix("hostel: ").and_then(|line| line.strip_suffix('\n'));
        snapbox::assert_data_eq!(line.unwrap_or_else(|| panic!("{said}")).to_owned(), expected);
    }

    /// The same as a process of the standard library's, for tests that talk to it.
    pub fn process(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(cargo_bin!("hostel"));
        command.current_dir(self.path()).env("XDG_CACHE_HOME", self.path().join("cache")).args(arguments);
        command.env("XDG_DATA_HOME", self.path().join("data"));
        command
    }
}

//! Consoles and named ports on virtio: what `--hvc` and `--port` take, and what is said of those that cannot be.

mod guest;

use guest::*;
use snapbox::str;

/// Writes '!' to the emergency register (section 5.3.4 of the VIRTIO specification) of the first virtio place, and powers off.
const EMERGENCY: [u32; 9] = [
    0x1000_1537, // lui a0, 0x10001
    0x0210_0593, // li a1, '!'
    0x10b5_2423, // sw a1, 0x108(a0)
    0x1005_2603, // lw a2, 0x100(a0)
    0x0000_55b7, // lui a1, 5
    0x5555_8593, // addi a1, a1, 0x555
    0x0010_06b7, // lui a3, 0x100
    0x00b6_a023, // sw a1, 0(a3)
    0x0000_006f, // j .
];

const RUN: [&str; 7] = ["run", "--bios", "none", "--kernel", "k", "--memory", "64M"];

fn files() -> Files {
    let files = Files::new();
    files.add("k", elf(EM_RISCV, &flat(&EMERGENCY), &[]));
    files
}

#[test]
fn a_console_on_virtio_is_before_entropy_and_says_what_the_guest_says() {
    let files = files();
    // Standard output is the virtio console's, and the serial line's no more.
    files.hostel(&[&RUN[..], &["--hvc", "stdio"]].concat()).assert().code(0).stdout_eq("!").stderr_eq("");
    // Without a console there is no emergency write, and with `none` it goes nowhere.
    for more in [&["--port", "a,none"][..], &["--hvc", "none"], &["--hvc", "none", "--hvc", "stdio"]] {
        files.hostel(&[&RUN[..], more].concat()).assert().code(0).stdout_eq("").stderr_eq("");
    }
}

#[test]
fn what_is_printed_of_ports_is_read_back() {
    let files = files();
    let printed = |arguments: &[&str]| {
        let assert = files.hostel(arguments).assert().code(0).stderr_eq("");
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let kernel = ["run", "--print-config", "--bios", "none", "--kernel", "/k"];
    let text = printed(
        &[&kernel[..], &["--hvc=stdio", "--hvc=pty", "--port=a.0,unix=/s", "--port=b,none"]].concat(),
    );
    for part in [
        "console = \"none\"\nhvc = [\"stdio\", \"pty\"]\n",
        "\n[[port]]\nname = \"a.0\"\nto = \"unix=/s\"\n\n[[port]]\nname = \"b\"\nto = \"none\"\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    files.add("m.toml", text.clone());
    assert_eq!(printed(&["run", "--print-config", "m.toml"]), text);
    let other = printed(&["run", "--print-config", "m.toml", "--hvc", "none", "--port", "c,pty"]);
    assert!(other.contains("hvc = \"none\"\n") && !other.contains("a.0") && other.contains("name = \"c\""));
    // A guest's messages go where its user is.
    let guest = printed(&["run", "--print-config", "debian", "--hvc", "stdio"]);
    assert!(guest.contains("append = \"console=hvc0 loglevel=6"), "{guest}");
    let guest = printed(&["run", "--print-config", "debian", "--hvc", "pty"]);
    assert!(guest.contains("append = \"console=ttyS0 loglevel=6"), "{guest}");
}

#[test]
fn ports_that_cannot_be() {
    let files = files();
    let wrong =
        |more: &[&str], expected: snapbox::data::Inline| files.wrong(&[&RUN[..], more].concat(), expected);
    wrong(
        &["--machine", "spike", "--hvc", "stdio"],
        str!["the board spike has no place for a virtio console; use --machine virt"],
    );
    wrong(
        &["--clock", "virtual", "--port", "a,none"],
        str![
            "what comes to a virtio console comes when the host sends it, which no virtual clock can repeat; use --console, or --clock real"
        ],
    );
    wrong(
        &["--console", "stdio", "--hvc", "stdio"],
        str!["two lines cannot both be joined to stdio; choose another for one of them"],
    );
    wrong(
        &["--port", "a,unix=s", "--port", "b,unix=s"],
        str!["two lines cannot both be joined to unix=s; choose another for one of them"],
    );
    wrong(
        &["--port", "a,none", "--port", "a,pty"],
        str!["two ports have the name a; choose another for one of them"],
    );
    wrong(
        &["--port=../a,none"],
        str![[
            r#""../a" cannot be the name of a port: it has letters, digits, dots, hyphens and underscores, and does not begin with a dot"#
        ]],
    );
    wrong(
        &["--hvc=none"; 32],
        str![
            "a virtio console has room for 31 consoles and ports, the first of which is a console's, not for 32 and 0"
        ],
    );
    wrong(
        &["--port=a"],
        str![[
            r#"invalid value 'a' for '--port <NAME,WHERE>': "a" is no port; write NAME,WHERE, such as org.qemu.guest_agent.0,unix=agent.sock; see `hostel run --help`"#
        ]],
    );
    files.add("m.toml", "kernel = \"k\"\nbios = \"none\"\n[[port]]\nname = \"a\"\nto = \"tty\"\n");
    files.wrong(
        &["run", "m.toml"],
        str![[r#"m.toml:5:6: there is no console "tty"; consoles are stdio, none, pty and unix=PATH"#]],
    );
}

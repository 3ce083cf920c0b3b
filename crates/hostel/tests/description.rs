//! Machine descriptions: what `--print-config` prints, `hostel run FILE.toml` takes back.

mod guest;

use guest::*;
use snapbox::str;

/// What `hostel run … --print-config` prints.
#[track_caller]
fn printed(files: &Files, arguments: &[&str]) -> String {
    let arguments = [&["run", "--print-config"], arguments].concat();
    let assert = files.hostel(&arguments).assert().code(0).stderr_eq("");
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_whole_machine_is_printed() {
    let files = Files::new();
    let arguments = ["--engine", "interp", "--cpu", "rv64gc_sv39", "--bios", "none", "--kernel", "/k"];
    snapbox::assert_data_eq!(
        printed(&files, &arguments),
        str![[r##"
# A machine, as `hostel run FILE.toml` takes it. Options on the command line override what is here;
# relative paths count from this file's directory.
engine = "interp"
machine = "virt"
cpu = "rv64imafdc_zicsr_zifencei_sv39"
cpus = 1
memory = "2G"
clock = "real"
console = "stdio"
bios = "none"
kernel = "/k"

"##]]
    );
    let guest = printed(&files, &["--cpu", "rv64gc"]);
    assert!(guest.contains("guest = \"debian-busybox\"\nappend = \"console=ttyS0 loglevel=6\"\n"), "{guest}");
}

#[test]
fn the_engine_is_the_best_that_there_is() {
    let files = Files::new();
    let usual = if engine_jit::Jit::missing().is_none() { "jit" } else { "interp" };
    for machine in ["virt", "spike", "sifive_u"] {
        let machine = printed(&files, &["--machine", machine, "--bios", "none", "--kernel", "/k"]);
        assert!(machine.contains(&format!("engine = \"{usual}\"\n")), "{machine}");
    }
    let machine = printed(&files, &["--machine", "microvm", "--kernel", "/k"]);
    assert!(machine.contains("engine = \"interp\"\n"), "{machine}");
    if usual == "interp" {
        return;
    }
    // What is printed is what is read.
    for (given, printed_as) in [
        ("jit,threshold=0", "jit,threshold=0"),
        ("jit,threshold=16", "jit"),
        ("jit,threshold=0,tier=2", "jit,tier=2,threshold=0"),
    ] {
        let machine = printed(&files, &["--engine", given, "--bios", "none", "--kernel", "/k"]);
        assert!(machine.contains(&format!("engine = \"{printed_as}\"\n")), "{machine}");
        files.add("m.toml", machine.clone());
        assert_eq!(printed(&files, &["m.toml"]), machine);
    }
}

#[test]
fn a_real_board_is_printed_as_it_is() {
    let files = Files::new();
    let machine = printed(&files, &["--machine", "sifive_u"]);
    for line in [
        "cpu = \"rv64imafdc_zicntr_zicsr_zifencei_zihpm_sv39\"\n",
        "cpus = 4\n",
        "console = [\"stdio\", \"none\"]\n",
        "append = \"console=ttySIF0 loglevel=6\"\n",
    ] {
        assert!(machine.contains(line), "{line} is not in {machine}");
    }
    let machine = printed(&files, &["--machine", "sifive_u", "--clock", "virtual"]);
    assert!(machine.contains("cpus = 1\n"), "{machine}");
    // A file's list is replaced whole.
    files.add("m.toml", "machine = \"sifive_u\"\nconsole = [\"none\", \"pty\"]\n");
    let machine = printed(&files, &["m.toml", "--console", "stdio"]);
    assert!(machine.contains("console = [\"stdio\", \"none\"]\n"), "{machine}");
}

#[test]
fn what_is_printed_gives_the_same_machine() {
    let files = Files::new();
    let elsewhere = files.add("a/b/machine.toml", "");
    for arguments in [
        &[][..],
        &["debian-busybox", "--append", "", "--initrd", "i"],
        &["--kernel", "k", "--append", "a \"b\" \\ \u{e9}\tc"],
        &["--bios", "fw", "--kernel", "dir/k", "--initrd", "it's", "--console", "unix=s"],
        &["--machine", "spike", "--bios", "none", "--kernel", "k", "--clock", "virtual"],
        &["--cpus", "512", "--memory", "1T", "--cpu", "rv64imac_zicsr_svbare", "--console", "pty"],
        &["--machine", "sifive_u"],
        &["debian"],
        &["debian", "--net", "none"],
        &["debian", "--clock", "virtual"],
        &[
            "--net",
            "tap=t0,queues=2",
            "--net",
            "user,host=allow,mac=52:54:00:12:34:56",
            "--publish",
            "2222:22",
        ],
        &["--publish", "0.0.0.0:53:53/udp", "--publish", "2222:22"],
        &[
            "--machine",
            "sifive_u",
            "--cpus",
            "2",
            "--console",
            "none",
            "--console",
            "unix=s",
            "--kernel",
            "k",
        ],
        &["--machine", "sifive_u", "--clock", "virtual", "--cpu", "max", "--console", "pty"],
        &["--memory", "1052672", "--console", "none", "--bios", "builtin", "--kernel", "./none"],
    ] {
        let first = printed(&files, arguments);
        std::fs::write(&elsewhere, &first).unwrap();
        assert_eq!(printed(&files, &["a/b/machine.toml"]), first, "{arguments:?}");
    }
}

#[test]
fn a_description_runs_and_its_paths_count_from_it() {
    let files = Files::new();
    files.add("a/k", flat(FAIL_7));
    files.add("k", flat(OFF));
    files.add("a/m.toml", "bios = \"none\"\nkernel = \"k\"\nmemory = 4194304\n");
    files.hostel(&["run", "a/m.toml"]).assert().code(7);
    // An option's path counts from where the user is, and it has the last word.
    files.hostel(&["run", "a/m.toml", "--kernel", "k"]).assert().code(0);
}

#[test]
fn options_override_the_description() {
    let files = Files::new();
    files.add("m.toml", "cpus = 4\nmemory = \"1G\"\nappend = \"from the file\"\nkernel = \"k\"\n");
    let machine = printed(&files, &["m.toml", "--cpus", "2", "--append", "from the user"]);
    for line in ["cpus = 2\n", "memory = \"1G\"\n", "append = \"from the user\"\n"] {
        assert!(machine.contains(line), "{line} is not in {machine}");
    }
}

#[test]
fn a_kernel_takes_the_place_of_the_files_guest() {
    let files = Files::new();
    let guest = printed(&files, &["--cpus", "2"]);
    assert!(guest.contains("guest = ") && guest.contains("append = "), "{guest}");
    files.add("g.toml", &guest);
    let machine = printed(&files, &["g.toml", "--kernel", "/k"]);
    assert!(machine.ends_with("bios = \"builtin\"\nkernel = \"/k\"\n"), "{machine}");
    assert!(machine.contains("cpus = 2\n"), "{machine}");
    // The command line of a kernel of one's own is not tied to that kernel.
    files.add("k.toml", "kernel = \"/a\"\nappend = \"quiet\"\n");
    let machine = printed(&files, &["k.toml", "--kernel", "/k"]);
    assert!(machine.ends_with("kernel = \"/k\"\nappend = \"quiet\"\n"), "{machine}");
}

#[test]
fn an_empty_description_is_the_default_guest() {
    let files = Files::new();
    files.add("m.toml", "");
    assert_eq!(printed(&files, &["m.toml"]), printed(&files, &[]));
}

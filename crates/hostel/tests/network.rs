//! The process of a user network: how it starts, what it says, and how it ends with the machine or before it. And which
//! machines have one.

mod guest;

use guest::Files;
use host_net::{Config, NetPort, SendError, SpawnError, UserNet};
use snapbox::cmd::cargo_bin;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn spawn(config: &str) -> Result<UserNet, SpawnError> {
    UserNet::spawn_from(&PathBuf::from(cargo_bin!("hostel")), &config.parse::<Config>().unwrap())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn lives(process: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A number of a process's status (proc_pid_status(5)).
fn field(status: &str, name: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[test]
fn it_runs_confined_and_ends_with_the_machine() {
    let net = spawn("publish=0:22,host=allow").unwrap();
    let process = net.process().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert_eq!(field(&status, "Seccomp:"), Some(2), "a filter");
    // In a container there are filters already.
    assert_eq!(field(&status, "Seccomp_filters:"), field(&own, "Seccomp_filters:").map(|own| own + 2));
    assert_eq!(field(&status, "NoNewPrivs:"), Some(1));
    let mut at = TcpStream::connect(net.published()[0]).unwrap();
    drop(net);
    until("its end", || !lives(process));
    // And of all that it held.
    at.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(at.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_machine_that_dies_takes_its_network_with_it() {
    // Nobody says goodbye to this one: its socket is closed, as when a machine is killed.
    let (ours, theirs) = host_net::pair().unwrap();
    let mut child = std::process::Command::new(cargo_bin!("hostel"))
        .args([host_net::VERB, "net6=off"])
        .stdin(std::process::Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut port = UserNet::new(ours, 1500);
    port.wait_until_ready().unwrap();
    drop(port);
    let mut status = None;
    until("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}

#[test]
fn a_network_that_dies_is_a_cable_pulled_out() {
    let net = spawn("").unwrap();
    assert!(net.is_up());
    assert_eq!(net.receive(&mut [0; 2000]), None);
    let process = rustix::process::Pid::from_raw(net.process().unwrap() as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    until("the link to go down", || {
        assert_eq!(net.receive(&mut [0; 2000]), None);
        !net.is_up()
    });
    assert_eq!(net.send(&[0; 60]), Err(SendError::Down));
}

#[test]
fn what_cannot_be_published_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = spawn(&format!("publish={port}:22")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot publish 127.0.0.1:{port}:22: ")), "{error}");
    assert!(error.ends_with("; choose another port of the host"), "{error}");
}

/// What `--print-config` says of network cards.
fn cards(arguments: &[&str]) -> Vec<String> {
    let files = Files::new();
    let assert = files.hostel(&[&["run", "--print-config"], arguments].concat()).assert().code(0);
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    text.lines().skip_while(|line| *line != "[[net]]").map(str::to_owned).collect()
}

#[test]
fn a_guest_with_a_root_disk_has_a_network_and_others_when_they_are_given_one() {
    assert_eq!(cards(&["debian"]), ["[[net]]", "kind = \"user\""]);
    for none in [
        &["debian-busybox"][..],
        &["debian", "--net", "none"],
        &["debian", "--clock", "virtual"],
        &["--kernel", "/k"],
    ] {
        assert!(cards(none).is_empty(), "{none:?}");
    }
    let published = ["[[net]]", "kind = \"user\"", "publish = \"127.0.0.1:2222:22\""];
    assert_eq!(cards(&["debian-busybox", "--publish", "2222:22"]), published);
    assert_eq!(
        cards(&["--net", "tap=tap0", "--kernel", "/k"]),
        ["[[net]]", "kind = \"tap\"", "name = \"tap0\""]
    );
}

#[test]
fn networks_that_cannot_be_are_refused_with_what_to_do() {
    let files = Files::new();
    for (arguments, why) in [
        (&["--net", "user", "--clock", "virtual"][..], "use --net none, or --clock real"),
        (&["--net", "user", "--machine", "spike", "--kernel", "/k"], "use --machine virt, or --net none"),
        (&["--net", "none", "--publish", "2222:22"], "add --net user"),
        (&["--net", "none", "--net", "user"], "leave one out"),
        (&["--net", "bridge"], "networks are user, tap=NAME and none"),
        (&["--net", "user,mtu=1"], "expected a number from 1280 to 65520"),
        (&["--publish", "22"], "write [BIND:]HOST:GUEST[/udp]"),
        (&["--net", "tap=a", "--net", "tap=a"], "give one another mac"),
    ] {
        let assert = files.hostel(&[&["run", "--print-config"], arguments].concat()).assert().code(125);
        let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(why), "{arguments:?}: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_before_the_machine_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let files = Files::new();
    files.add("off", guest::flat(guest::OFF));
    let publish = format!("{port}:22");
    let words = ["run", "--bios", "none", "--kernel", "off", "--publish", &publish];
    let assert = files.hostel(&words).assert().code(125);
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.contains("choose another port of the host"), "{text}");
    // And a machine with a network ends as any.
    files.hostel(&["run", "--bios", "none", "--kernel", "off", "--net", "user"]).assert().code(0);
}

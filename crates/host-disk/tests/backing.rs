//! Which files an image may name as what it is built on.

use host_disk::{Backing, Format, HostFile, NewQcow2, OpenError, OpenOptions, open};
use std::fs;
use std::path::PathBuf;

#[test]
fn attack_an_image_names_a_file_that_is_none_of_its_business() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("guests")).unwrap();
    fs::write(folder.join("secret"), [1; 1 << 20]).unwrap();
    fs::write(folder.join("guests/own"), [2; 1 << 20]).unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("guests/link")).unwrap();
    let secret = folder.join("secret");
    let image = folder.join("guests/x.qcow2");
    let named = |name: &str, backing: Backing| {
        let _ = fs::remove_file(&image);
        let new = NewQcow2 { backing: Some((name.to_owned(), "raw".to_owned())), ..NewQcow2::new(1 << 20) };
        new.create(&HostFile::create(&image).unwrap()).unwrap();
        open(&image, &OpenOptions { backing, format: Some(Format::Qcow2), ..OpenOptions::default() })
    };
    for name in ["../secret", secret.to_str().unwrap(), "/nowhere/at/all", "link", "../guests/../secret"] {
        let error = named(name, Backing::Beside).unwrap_err();
        assert!(matches!(error, OpenError::Forbidden { .. }), "{name}: {error}");
        assert!(error.to_string().contains("backing="), "{error}");
    }
    for name in ["nbd:localhost:1", "json:{}", "file:own", "http://localhost/x"] {
        assert!(matches!(named(name, Backing::Any), Err(OpenError::NoFile { .. })), "{name}");
    }
    assert!(matches!(named("x.qcow2", Backing::Beside), Err(OpenError::Loop { .. })));
    named("own", Backing::Beside).unwrap();
    named("../guests/own", Backing::Beside).unwrap();
    named("../secret", Backing::Any).unwrap();
    named("../secret", Backing::Also(vec![PathBuf::from("/nowhere"), secret.clone()])).unwrap();
    assert!(named("../secret", Backing::Also(vec![folder.join("guests/own")])).is_err());
}

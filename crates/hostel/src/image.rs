//! `hostel image`: the cache of guest images. What it does with disk images is in [`crate::disk_image`].

use crate::command_image::{ImageOptions, ImageVerb};
use crate::{disk_image, say, second_stage, status};
use anyhow::{Context, anyhow, bail};
use host_char::terminal;
use host_image::{Bars, Error, Image, ImageInfo, Options, State, Store, leave_bars};
use std::fmt::Write as _;
use std::path::PathBuf;
use vm_board::size::Size;

/// Does what `hostel image` was asked to and gives the exit status.
///
/// # Errors
/// If there is no such image, it cannot be fetched or it is not there; or what a disk image's verb says.
pub fn image(options: ImageOptions) -> anyhow::Result<u8> {
    let Some(verb) = options.verb else { return say::help(&["image"]) };
    let store = || Store::open(None);
    let answer = match verb {
        ImageVerb::List => list(&store()?.list()?),
        ImageVerb::Get { name, fetch, refresh, check } => {
            let options = Options { refresh, check, ..fetch.options() };
            terminal::watch_signals(|_| {
                leave_bars();
                false
            })
            .context("cannot watch for signals")?;
            let image = store()?.get_with(&name, &options, &mut second_stage::runner(), &mut Bars::new())?;
            let files = image.manifest.files.iter().filter_map(|file| image.file(&file.name));
            files.map(|file| format!("{}\n", file.display())).collect()
        }
        ImageVerb::Info { name, from } if !disk_image::is_guest(&name) => {
            return disk_image::info(&name, from);
        }
        ImageVerb::Info { name, from: Some(_) } => {
            let name = name.display();
            bail!(
                "--from has no effect with the guest image {name}; leave it out, or write ./{name} for a file"
            );
        }
        ImageVerb::Info { name, from: None } => info(&store()?.info(&name.to_string_lossy())?)?,
        ImageVerb::Path { name: None } => format!("{}\n", store()?.directory().display()),
        ImageVerb::Path { name: Some(name) } => {
            format!("{}\n", directory(&store()?.get_cached(&name)?)?.display())
        }
        ImageVerb::Check(options) => return disk_image::check(&options),
        ImageVerb::Convert(options) => return disk_image::convert(&options),
        ImageVerb::Create(options) => return disk_image::create(&options),
        ImageVerb::Resize(options) => return disk_image::resize(&options),
    };
    say::answer(&answer)?;
    Ok(status::SUCCESS)
}

fn list(images: &[ImageInfo]) -> String {
    let mut table = String::new();
    for image in images {
        let state = match &image.state {
            State::Absent => "not fetched".to_owned(),
            State::Cached(cached) => format!("{} in the cache", Size(cached.manifest.size())),
            State::Damaged(_) => "damaged".to_owned(),
        };
        let _ = writeln!(table, "{:19} {:8} {state:24} {}", image.name, image.architecture, image.about);
    }
    table
}

/// The directory that an image's files are in.
fn directory(image: &Image) -> anyhow::Result<PathBuf> {
    let file = image.manifest.files.first().and_then(|file| image.file(&file.name));
    let directory = file.and_then(|file| file.parent().map(PathBuf::from));
    directory.ok_or_else(|| anyhow!("the image {} has no files", image.manifest.name))
}

fn info(image: &ImageInfo) -> anyhow::Result<String> {
    let name = image.name;
    let cached = match &image.state {
        State::Absent => return Err(Error::Absent { name: name.to_owned() }.into()),
        State::Damaged(why) => {
            return Err(Error::Damaged { name: name.to_owned(), reason: why.clone() }.into());
        }
        State::Cached(cached) => cached,
    };
    let manifest = &cached.manifest;
    let archive = &manifest.archive;
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:10} {value}");
    };
    line("name", name.to_owned());
    line("for", image.architecture.to_string());
    line("about", image.about.to_owned());
    line("fetched", manifest.fetched.clone());
    line("archive", format!("{} {}", archive.mirror, archive.suite));
    line("release", format!("{} {} of {}", archive.codename, archive.version, archive.date));
    for package in &manifest.packages {
        line("package", format!("{} {} {}", package.name, package.version, package.hash));
    }
    for file in &manifest.files {
        let path = cached.file(&file.name).unwrap_or_default();
        line("file", format!("{} ({}, SHA256:{})", path.display(), Size(file.size), file.sha256));
    }
    Ok(text)
}

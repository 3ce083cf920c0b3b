//! Tries the image store: `fetch [--cache DIR] [--mirror URL] [--suite NAME] [--refresh] [--offline]
//! [--check] (list | info NAME | get NAME)`.
use host_image::{Bars, DEFAULT_GUEST, Mirror, Options, State, Store};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut cache, mut options, mut words) = (None, Options::default(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--cache" => cache = Some(value()?.into()),
            "--mirror" => options.mirror = Mirror::Url(value()?),
            "--suite" => options.suite = Some(value()?),
            "--refresh" => options.refresh = true,
            "--offline" => options.offline = true,
            "--check" => options.check = true,
            _ if argument.starts_with("--") => return Err(format!("unknown option {argument}").into()),
            _ => words.push(argument),
        }
    }
    let store = Store::open(cache)?;
    let name = words.get(1).map_or(DEFAULT_GUEST, String::as_str);
    match words.first().map(String::as_str) {
        Some("list") => {
            for image in store.list()? {
                let state = match image.state {
                    State::Absent => "not fetched".to_owned(),
                    State::Cached(cached) => {
                        format!("{} bytes, {}", cached.manifest.size(), cached.manifest.fetched)
                    }
                    State::Damaged(reason) => format!("damaged: {reason}"),
                };
                println!("{:16} {state:40} {}", image.name, image.about);
            }
        }
        Some("info") => println!("{:#?}", store.info(name)?),
        Some("get") => {
            let image = store.get(name, &options, &mut Bars::new())?;
            for file in &image.manifest.files {
                println!("{}", image.file(&file.name).unwrap_or_default().display());
            }
        }
        _ => return Err("say list, info NAME or get NAME".into()),
    }
    Ok(())
}

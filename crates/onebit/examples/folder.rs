//! The photographs of a folder, on all cores: `folder MODEL.onebit FOLDER`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use onebit::{Model, hardware_threads, list_images};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder] = arguments.as_slice() else { return Err("expected MODEL FOLDER".into()) };
    let mut session = Model::open(model)?.session().threads(hardware_threads()).build()?;
    let photos = list_images(folder.as_ref())?.paths;
    for photos in photos.chunks(session.batch()) {
        for (photo, seen) in photos.iter().zip(session.classify_files(photos)?) {
            match seen {
                Ok(seen) => {
                    let best: Vec<&str> = seen.top(1).map(|guess| guess.label).collect();
                    println!("{}  {}", photo.display(), best.concat());
                }
                Err(error) => eprintln!("{error}"),
            }
        }
    }
    Ok(())
}

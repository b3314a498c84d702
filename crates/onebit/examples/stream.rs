//! The frames of a camera or a film, as they come on standard input: `stream MODEL.onebit WIDTH HEIGHT`, each frame
//! WIDTH x HEIGHT pixels of red, green and blue bytes. What `ffmpeg -i film.mp4 -f rawvideo -pix_fmt rgb24 -` writes.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::io::{self, Read};

use onebit::{Image, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, width, height] = arguments.as_slice() else {
        return Err("expected MODEL WIDTH HEIGHT".into());
    };
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    let mut session = Model::open(model)?.session().build()?;
    let mut camera = io::stdin().lock();
    let mut last = String::new();
    for number in 0.. {
        let mut pixels = Vec::new();
        let frame = (3 * width * height) as u64;
        camera.by_ref().take(frame).read_to_end(&mut pixels)?;
        if pixels.is_empty() {
            break;
        }
        let seen = session.classify(&Image::from_pixels(height, width, 3, pixels)?)?;
        if let Some(guess) = seen.top(1).find(|guess| guess.label != last) {
            println!("frame {number}: {}", guess.label);
            last = guess.label.to_owned();
        }
    }
    Ok(())
}

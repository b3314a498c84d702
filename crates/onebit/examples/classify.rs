//! What is on a photograph: `classify MODEL.onebit PHOTO`.

#![allow(clippy::print_stdout, reason = "an example prints")]

use onebit::{Image, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, photo] = arguments.as_slice() else { return Err("expected MODEL PHOTO".into()) };
    let mut session = Model::open(model)?.session().build()?;
    for guess in session.classify(&Image::open(photo)?)?.top(3) {
        println!("{:5.1}%  {}", 100.0 * guess.probability, guess.label);
    }
    Ok(())
}

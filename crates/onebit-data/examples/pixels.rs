//! Writes the pixels of images, for comparisons with other programs (`scripts/check_pixels.py`).
//!
//!     cargo run --release --example pixels -- OUT_DIR IMAGE...
//!
//! Of each image, `NAME.decoded` gets height x width x channels bytes as decoded, and `NAME.fitted` the 224 x 224 x 3
//! bytes that a network would get.

use std::path::Path;

use onebit_data::{DecodeLimits, Error, decode_image, load_for_network};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((out, images)) = arguments.split_first() else { return Ok(()) };
    for image in images {
        let image = Path::new(image);
        let target = Path::new(out).join(image.file_name().unwrap_or_default());
        let decoded = decode_image(image, &DecodeLimits::default())?.to_channels(3)?;
        onebit_files::write_atomic(&target.with_added_extension("decoded"), &decoded.pixels)?;
        let fitted = load_for_network(image, 3, 224, 224)?;
        onebit_files::write_atomic(&target.with_added_extension("fitted"), &fitted)?;
    }
    Ok(())
}

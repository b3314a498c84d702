//! Prints the hex dump of the tiny model's file, for `docs/format.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/file/tiny.rs"]
mod tiny;

fn main() {
    let bytes = onebit_model::file::write_model(&tiny::tiny_model()).unwrap();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = chunk.iter().map(|&b| if (32..127).contains(&b) { b as char } else { '.' });
        println!("{:08x}  {:<47}  |{}|", line * 16, hex.join(" "), text.collect::<String>());
    }
}

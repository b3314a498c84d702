//! The hex dump in the documentation is the file that the code writes.

use onebit_model::file::write_model;

use super::tiny::tiny_model;

#[test]
fn the_documented_dump_is_the_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mut bytes = Vec::new();
    for line in document.lines() {
        let Some((address, rest)) = line.split_once("  ") else { continue };
        if address.len() != 8 || usize::from_str_radix(address, 16) != Ok(bytes.len()) {
            continue;
        }
        let columns = rest.split("  |").next().unwrap().split_whitespace();
        bytes.extend(columns.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    let expected = write_model(&tiny_model()).unwrap();
    assert_eq!(bytes, expected, "run the example `hex_dump` and update docs/format.md");
}

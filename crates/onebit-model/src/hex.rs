//! Bytes in hexadecimal.

use alloc::string::String;

/// Two digits for each byte, lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn two_digits_for_each_byte() {
        assert_eq!(hex(&[0, 0x0a, 0xf9]), "000af9");
        assert_eq!(hex(&[]), "");
    }
}

//! Files that are damaged or made to do harm.

use onebit_pack::import::{Checkpoint, ImportError};
use onebit_testing::{Random, random_seed};

use super::{fixture, import, packed};

const FLIPS: usize = 1000;

#[test]
fn a_file_that_is_cut_short_is_refused_at_every_length() {
    for name in ["reactnet.mixed.legacy.pth", "reactnet.mixed.pth", "reactnet.mixed.safetensors"] {
        let bytes = fixture(name);
        for len in 0..bytes.len() {
            assert!(Checkpoint::parse(&bytes[..len]).is_err(), "{name}: the first {len} bytes");
        }
    }
}

#[test]
fn flipped_bits_end_in_an_error_or_change_only_numbers() {
    let mut random = Random(random_seed());
    for name in ["reactnet.mixed.legacy.pth", "reactnet.mixed.pth", "reactnet.mixed.safetensors"] {
        let bytes = fixture(name);
        let intact = packed(&import(&bytes, "reactnet").unwrap());
        for _ in 0..FLIPS {
            let mut damaged = bytes.clone();
            let at = (random.next() % bytes.len() as u64) as usize;
            damaged[at] ^= 1 << (random.next() % 8);
            let imported = Checkpoint::parse(&damaged)
                .and_then(|checkpoint| checkpoint.weights(super::network("reactnet")));
            // The zip container has checksums, the others have none.
            if let Ok(imported) = imported
                && name.ends_with("mixed.pth")
            {
                assert!(packed(&imported) == intact, "{name}: byte {at}");
            }
        }
    }
}

/// A checkpoint of the older container whose object is this pickle, without storages.
fn legacy(object: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    [magic, &b"\x80\x02M\xe9\x03."[..], b"\x80\x02}.", object, b"\x80\x02]."].concat()
}

fn error(object: &[u8]) -> ImportError {
    Checkpoint::parse(&legacy(object)).unwrap_err()
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn nothing_is_called_that_is_not_on_the_list() {
    let calls: [(&[u8], &str); 5] = [
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "posix.system"),
        (b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.", "__builtin__.eval"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02cmodels.birealnet\nBiRealNet\n)\x81.", "models.birealnet.BiRealNet"),
    ];
    for (object, name) in calls {
        let error = error(object);
        assert!(matches!(&error, ImportError::Global(global) if global == name), "{error}");
        assert!(error.to_string().contains("nothing of it was run"));
    }
    let hidden = [b"\x80\x02}", text("state_dict").as_slice(), b"cos\nsystem\n)Rs."].concat();
    assert!(matches!(error(&hidden), ImportError::Global(_)));
}

#[test]
fn a_pickle_that_is_none_is_refused() {
    let many = [b"\x80\x02".as_slice(), &vec![b'N'; (1 << 20) + 1], b"."].concat();
    let deep = [b"\x80\x02".as_slice(), &vec![b']'; 500_000], &vec![b'a'; 499_999], b"."].concat();
    let long_name = [b"\x80\x02c".as_slice(), &vec![b'o'; 1000], b"\nsystem\n."].concat();
    let cases: [(&[u8], &str); 19] = [
        (&many, "more than 1048576 operations"),
        (&deep, "no dictionary"),
        (&long_name, "a name without an end"),
        (b"\x80\x02cos\x1b[2J\nsystem\n.", "a name that is none"),
        (b"\x80\x04}.", "protocol 4"),
        (b"\x80\x02\x95.", "operation 0x95"),
        (b"\x80\x02.", "not there"),
        (b"\x80\x02(}0.", "operation 0x30"),
        (b"\x80\x02}t.", "a mark"),
        (b"\x80\x02}(s.", "not there"),
        (b"\x80\x02}(Nu.", "no dictionary"),
        (b"\x80\x02NNa.", "no list"),
        (b"\x80\x02}h\x05.", "unknown value"),
        (b"\x80\x02}q\x05.", "out of order"),
        (b"\x80\x02}r\xff\xff\xff\xff.", "out of order"),
        (b"\x80\x02X\xff\xff\xff\xffabc", "cut short"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "UTF-8"),
        (b"\x80\x02)Q.", "a storage"),
        (b"\x80\x02NNb.", "attributes"),
    ];
    for (object, words) in cases {
        let message = error(object).to_string();
        assert!(message.contains(words), "expected {words}: {message}");
    }
}

#[test]
fn what_holds_itself_is_only_looked_at_where_it_matters() {
    let itself = [b"\x80\x02}q\x00", text("state_dict").as_slice(), b"h\x00s."].concat();
    assert!(matches!(error(&itself), ImportError::NoStateDict(_)));
}

/// A state dict of one tensor `fc.weight` of 8 floats, of this offset, shape and strides.
fn one_tensor(offset: u8, shape: &[u32], strides: &[u32]) -> Vec<u8> {
    let tuple = |items: &[u32]| {
        let items = items.iter().flat_map(|i| [b"J", &i.to_le_bytes()[..]].concat());
        [b"(".to_vec(), items.collect(), b"t".to_vec()].concat()
    };
    let object = [
        b"\x80\x02}".to_vec(),
        text("fc.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        b"K\x08NtQK".to_vec(),
        vec![offset],
        tuple(shape),
        tuple(strides),
        b"\x89}tRs.".to_vec(),
    ];
    let mut file = legacy(&object.concat());
    file.truncate(file.len() - 4);
    file.extend([b"\x80\x02]", text("0").as_slice(), b"a.", &8u64.to_le_bytes()].concat());
    file.extend((0..8u8).flat_map(|value| f32::from(value).to_le_bytes()));
    file
}

#[test]
fn no_tensor_reaches_beyond_its_storage() {
    assert_eq!(Checkpoint::parse(&one_tensor(0, &[2, 4], &[4, 1])).unwrap().classes().unwrap(), 2);
    assert_eq!(Checkpoint::parse(&one_tensor(1, &[7, 1], &[1, 9])).unwrap().classes().unwrap(), 7);
    let beyond: [(u8, &[u32], &[u32]); 7] = [
        (1, &[2, 4], &[4, 1]),
        (0, &[2, 4], &[5, 1]),
        (0, &[1 << 30, 1 << 30], &[0, 0]),
        (0, &[9], &[0]),
        (0, &[2], &[u32::MAX]),
        (0, &[1; 9], &[1; 9]),
        (0, &[2, 4], &[4]),
    ];
    for (offset, shape, strides) in beyond {
        let error = Checkpoint::parse(&one_tensor(offset, shape, strides)).unwrap_err();
        let named = matches!(error, ImportError::View { .. } | ImportError::Pickle { .. });
        assert!(named, "{offset} {shape:?} {strides:?}: {error}");
    }
    let wide = one_tensor(0, &[1 << 30, 0], &[0, 1]);
    let error = Checkpoint::parse(&wide).unwrap().classes().unwrap_err();
    assert!(matches!(error, ImportError::NotClassifier { .. }), "{error}");
}

#[test]
fn other_files_are_no_checkpoints() {
    let files: [&[u8]; 5] =
        [b"", b"Dear reader, this is no network.\n", b"PK", b"\x80\x02}.", &[0; 100]];
    for file in files {
        assert!(matches!(Checkpoint::parse(file), Err(ImportError::NotACheckpoint)));
    }
    let zip = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let zip = [b"PK\x03\x04", &zip[..]].concat();
    assert!(matches!(Checkpoint::parse(&zip), Err(ImportError::Zip(_))));
}

#[test]
fn machines_of_the_other_byte_order_are_refused() {
    let bytes = fixture("reactnet.mixed.legacy.pth");
    let order = b"little_endianq\x02\x88";
    let at = bytes.windows(order.len()).position(|window| window == order).unwrap();
    let mut big = bytes.clone();
    big[at + order.len() - 1] = 0x89;
    assert!(matches!(Checkpoint::parse(&big), Err(ImportError::BigEndian)));
}

/// `reactnet.zip.pth` with other bytes at an offset of each entry's description in the zip's directory.
fn with_directory(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = fixture("reactnet.zip.pth");
    let starts = file.windows(4).enumerate().filter(|(_, window)| *window == b"PK\x01\x02");
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    assert!(starts.len() > 50, "one for each entry");
    for start in starts {
        file[start + offset..][..bytes.len()].copy_from_slice(bytes);
    }
    file
}

#[test]
fn a_zip_is_as_pytorch_writes_it_or_refused() {
    let refused = |offset, bytes: &[u8], words: &str| {
        let file = with_directory(offset, bytes);
        let message = Checkpoint::parse(&file).unwrap_err().to_string();
        assert!(message.contains(words), "expected {words}: {message}");
    };
    refused(10, &8u16.to_le_bytes(), "compressed");
    refused(8, &1u16.to_le_bytes(), "encrypted");
    refused(16, &1u32.to_le_bytes(), "checksum");
    refused(24, &[0xff; 4], "compressed");
    refused(28, &[0xff; 2], "directory");
    refused(42, &[0xff; 4], "cut short");
    refused(46, b"\x1b", "directory");
}

#[test]
fn a_zip_may_have_no_checksums() {
    let file = with_directory(16, &0u32.to_le_bytes());
    let intact = packed(&import(&fixture("reactnet.zip.pth"), "reactnet").unwrap());
    assert!(packed(&import(&file, "reactnet").unwrap()) == intact);
}

#[test]
fn entries_of_a_zip_do_not_share_bytes() {
    let mut entry = b"PK\x03\x04".to_vec();
    entry.resize(30, 0);
    entry.extend([0; 100]);
    let mut directory = b"PK\x01\x02".to_vec();
    directory.resize(46, 0);
    directory[20] = 100;
    directory[24] = 100;
    let mut file = entry.clone();
    file.extend(directory.repeat(3));
    file.extend(b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
    file.extend((3 * 46u32).to_le_bytes());
    file.extend((entry.len() as u32).to_le_bytes());
    file.extend([0; 2]);
    let message = Checkpoint::parse(&file).unwrap_err().to_string();
    assert!(message.contains("overlap"), "{message}");
}

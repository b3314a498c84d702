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
fn what_does_harm_is_refused_wherever_it_is() {
    let calls: [(&[u8], &str); 9] = [
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "posix.system"),
        (b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.", "__builtin__.eval"),
        (b"\x80\x02cbuiltins\nexec\nX\x01\x00\x00\x001\x85R.", "builtins.exec"),
        (b"\x80\x02csubprocess\nPopen\nX\x04\x00\x00\x00true\x85R.", "subprocess.Popen"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x01x\x85R.", "os.system"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.", "os.system"),
        (b"\x80\x02cos.path\njoin\n.", "os.path.join"),
    ];
    for (object, name) in calls {
        let error = error(object);
        assert!(matches!(&error, ImportError::Global(global) if global == name), "{error}");
        assert!(error.to_string().contains("nothing of it was run"));
    }
    let beside = [b"\x80\x02}", text("note").as_slice(), b"cos\nsystem\n)Rs."].concat();
    assert!(matches!(error(&beside), ImportError::Global(_)));
}

#[test]
fn an_object_in_place_of_a_state_dict_is_named() {
    let objects: [(&[u8], &str); 6] = [
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02cmodels.birealnet\nBiRealNet\n)\x81.", "models.birealnet.BiRealNet"),
        (b"ccopy_reg\n_reconstructor\n(cnets\nNet\nc__builtin__\nobject\nNtR.", "nets.Net"),
        (b"\x80\x02}X\x05\x00\x00\x00modelcnets\nNet\n)\x81s.", "nets.Net"),
        (b"\x80\x02(X\x06\x00\x00\x00modulecnets\nNet\nNNtQ)\x81}b.", "nets.Net"),
        (b"\x80\x02cnets\x1b[2J\nNet\n)\x81.", "nets\\u{1b}[2J.Net"),
    ];
    for (object, name) in objects {
        let error = error(object);
        assert!(matches!(&error, ImportError::Global(global) if global == name), "{error}");
        assert!(error.to_string().contains("save the network's `state_dict()` alone"));
    }
}

#[test]
fn a_pickle_that_is_none_is_refused() {
    let many = [b"\x80\x02".as_slice(), &vec![b'N'; (1 << 20) + 1], b"."].concat();
    let deep = [b"\x80\x02".as_slice(), &vec![b']'; 500_000], &vec![b'a'; 499_999], b"."].concat();
    let long_name = [b"\x80\x02c".as_slice(), &vec![b'o'; 1000], b"\nsystem\n."].concat();
    let cases: [(&[u8], &str); 21] = [
        (&many, "more than 1048576 operations"),
        (&deep, "no dictionary"),
        (&long_name, "a name without an end"),
        (b"\x80\x02c\xff\nsystem\n.", "a name that is none"),
        (b"\x80\x02NN\x93.", "a name that is none"),
        (b"\x80\x06}.", "protocol 6"),
        (b"\x80\x02\x97.", "operation 0x97"),
        (b"\x80\x02.", "not there"),
        (b"\x80\x02(}0.", "not there"),
        (b"\x80\x02}t.", "a mark"),
        (b"\x80\x02}(s.", "not there"),
        (b"\x80\x02}(Nu.", "no dictionary"),
        (b"\x80\x02NNa.", "no list"),
        (b"\x80\x02}h\x05.", "unknown value"),
        (b"}p-1\n.", "in a wrong way"),
        (b"\x80\x02X\xff\xff\xff\xffabc", "cut short"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "cut short"),
        (b"\x80\x02)Q.", "a storage"),
        (b"\x80\x02NNb.", "attributes"),
        (b"\x80\x02N)R.", "calls something"),
        (b"\x80\x02cnets\nNet\nNR.", "without a tuple"),
    ];
    for (object, words) in cases {
        let message = error(object).to_string();
        assert!(message.contains(words), "expected {words}: {message}");
    }
}

/// Files of megabytes that ask for much more: each is refused at once.
#[test]
fn a_pickle_takes_no_more_than_its_length() {
    let start = std::time::Instant::now();
    let nested = |open: &[u8], close: &[u8]| {
        [b"\x80\x04".as_slice(), &open.repeat(450_000), &close.repeat(450_000), b"."].concat()
    };
    // A list of 400,000 values, used again and again where a dictionary of pairs and a tuple of extents is expected.
    let list = [b"]q\x00(".as_slice(), &vec![b'N'; 400_000], b"e0"].concat();
    let dictionaries = b"ccollections\nOrderedDict\nq\x01h\x00\x85q\x020";
    let again =
        [&b"\x80\x02"[..], &list, dictionaries, &b"h\x01h\x02R0".repeat(140_000), b"."].concat();
    // A dictionary with itself under every name that is looked for, and many others.
    let mut itself = b"\x80\x02}q\x00(".to_vec();
    for i in 0..200_000 {
        itself.extend(text(&format!("k{i}")));
        itself.extend(b"h\x00");
    }
    for name in ["state_dict", "model", "net", "module", "ema"] {
        itself.extend(text(name));
        itself.extend(b"h\x00");
    }
    itself.extend(b"u.");
    let doubled = [b"\x80\x02N".as_slice(), &b"2\x86".repeat(500_000), b"."].concat();
    let numbers = [b"\x80\x02".as_slice(), b"\x8b\xff\xff\xff\x7f", &[1; 1 << 20]].concat();
    for bomb in [nested(b"}N", b"s"), nested(b"(", b"t"), again, itself, doubled, numbers] {
        let error = error(&bomb);
        assert!(error.to_string().len() < 1000, "{error}");
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 20.0, "{seconds} s");
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
        (8, &[9], &[0]),
        (0, &[2], &[u32::MAX]),
        (0, &[1; 65], &[1; 65]),
        (0, &[2, 4], &[4]),
    ];
    for (offset, shape, strides) in beyond {
        let error = Checkpoint::parse(&one_tensor(offset, shape, strides)).unwrap_err();
        let named = matches!(error, ImportError::View { .. } | ImportError::Pickle { .. });
        assert!(named, "{offset} {shape:?} {strides:?}: {error}");
    }
    let no_classifiers: [(&[u32], &[u32]); 4] =
        [(&[1 << 30, 0], &[0, 1]), (&[0, 4], &[4, 1]), (&[1; 64], &[1; 64]), (&[], &[])];
    for (shape, strides) in no_classifiers {
        let error = Checkpoint::parse(&one_tensor(0, shape, strides)).unwrap().classes();
        let error = error.unwrap_err();
        assert!(matches!(error, ImportError::NotClassifier { .. }), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
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
    refused(24, &[0xfe; 4], "compressed");
    refused(24, &[0xff; 4], "directory");
    refused(28, &[0xff; 2], "directory");
    refused(42, &[0xfe; 4], "cut short");
    refused(42, &[0xff; 4], "directory");
    refused(46, b"a/", "no entry NAME/data.pkl");
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

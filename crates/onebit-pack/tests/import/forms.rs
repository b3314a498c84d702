//! Checkpoints that `torch.load(weights_only=True)` takes, in every form and with whatever beside the tensors, become
//! the same network.

use std::collections::BTreeMap;

use onebit_model::arch::{self, Config, Task};
use onebit_model::file::Weights;
use onebit_model::{Description, Verified, op::Role};
use onebit_pack::import::Found;
use safetensors::{Dtype, serialize, tensor::TensorView};

use super::torch_save::{FORM, Form, Pickler, Tensor, tensors, zip};
use super::{Checkpoint, ImportError, fixture, import, packed};

fn expected() -> Vec<u8> {
    packed(&import(&fixture("reactnet.safetensors"), "reactnet").unwrap())
}

/// The file that `write` makes in a form is the network of the fixture; how it was found.
fn assert_same(form: Form, write: impl FnOnce(&mut Pickler)) -> Found {
    let mut pickler = Pickler::new(form);
    write(&mut pickler);
    let imported = import(&pickler.save(), "reactnet").unwrap_or_else(|e| panic!("{form:?}: {e}"));
    assert!(packed(&imported) == expected(), "{form:?} is another network");
    imported.found
}

#[test]
fn every_version_of_the_pickle_format_is_read() {
    let tensors = tensors();
    for legacy in [false, true] {
        for protocol in 1..=5 {
            let form = Form { protocol, legacy, ..FORM };
            assert_eq!(assert_same(form, |p| p.state_dict(&tensors)), Found::default());
        }
        let form = Form { python2: true, legacy, ..FORM };
        let found = assert_same(form, |p| {
            p.dict(|p| {
                p.text("epoch");
                p.raw(b"K\x03");
                p.text("state_dict");
                p.state_dict(&tensors);
                p.text("best_prec1");
                // A float, and a text that is not UTF-8.
                p.raw(b"G\x40\x4e\xc0\0\0\0\0\0U\x05notesU\x01\xff");
            });
        });
        assert_eq!(found.others, ["epoch", "best_prec1", "notes"]);
    }
}

#[test]
fn the_folder_in_the_zip_has_any_name() {
    let tensors = tensors();
    for folder in ["model best (1)", "Modell größer 模型", "a\tb", ".."] {
        assert_same(Form { folder, ..FORM }, |p| p.state_dict(&tensors));
    }
}

/// Entries as pickles of Python have them, which PyTorch 2.11 takes with `weights_only=True` or the code of papers saves.
#[rustfmt::skip]
const BESIDE: &[(&str, &[u8])] = &[
    ("counter", b"ccollections\nCounter\n}(K\x03K\x01K\x05K\x01u\x85R"),
    ("ordered", b"ccollections\nOrderedDict\n)R(X\x01\0\0\0aK\x01u"),
    ("default", b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(K\x01](K\x02eu"),
    ("device", b"ctorch\ndevice\nX\x04\0\0\0cudaK\0\x86R"),
    ("size", b"ctorch\nSize\n(K\x01K\x02t\x85R"),
    ("dtype", b"ctorch\nfloat32\n"),
    ("float8", b"ctorch\nfloat8_e4m3fn\n"),
    ("set", b"c__builtin__\nset\n](K\x01K\x02e\x85R"),
    ("new_set", b"\x8f(K\x01K\x02\x90"),
    ("frozenset", b"(K\x01\x91"),
    ("complex", b"c__builtin__\ncomplex\nG\0\0\0\0\0\0\0\0G\0\0\0\0\0\0\0\0\x86R"),
    ("slice", b"cbuiltins\nslice\nK\x01K\x02N\x87R"),
    ("bytes", b"c_codecs\nencode\nX\x03\0\0\0abcX\x06\0\0\0latin1\x86R"),
    ("new_bytes", b"C\x02\xff\xfe"),
    ("bytearray", b"\x96\x02\0\0\0\0\0\0\0\xff\xfe"),
    ("old_bytearray", b"c__builtin__\nbytearray\nX\x03\0\0\0abcX\x06\0\0\0latin1\x86R"),
    ("scalar", b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNtbC\x08\0\0\0\0\0\0\0\0\x86R"),
    ("array", b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01K\x01\x85NNC\x01\0tb"),
    ("namespace", b"cargparse\nNamespace\n)\x81}(X\x02\0\0\0lrK\x01ub"),
    ("path", b"cpathlib\nPosixPath\n(X\x01\0\0\0/X\x03\0\0\0tmptR"),
    ("date", b"cdatetime\ndatetime\nC\x0a\x07\xea\x0b\x1e\0\0\0\0\0\0\x85R"),
    ("old_object", b"ccopy_reg\n_reconstructor\n(cutils\nMeter\nc__builtin__\nobject\nNtR}b"),
    ("older_object", b"(iutils\nMeter\n}b"),
    ("with_options", b"cutils\nMeter\n)}\x92"),
    ("queue", b"ccollections\ndeque\n)R(K\x01K\x02e"),
    ("method", b"c__builtin__\ngetattr\nNX\x01\0\0\0a\x86R"),
    ("partial", b"cfunctools\npartial\ncutils\nwarmup\n\x85R"),
    ("huge", b"\x8a\x0b\0\0\0\0\0\0\0\0\0\0\x01"),
    ("digits", b"(I-12\nL5L\nF1.5\nS'a'\nV\\u0041\nt"),
    ("unpaired", b"X\x03\0\0\0\xed\xa0\x80"),
    ("quantized", b"ctorch._utils\n_rebuild_qtensor\n(NNtR"),
    ("sparse", b"ctorch._utils\n_rebuild_sparse_tensor\n(ctorch.serialization\n_get_layout\nX\x10\0\0\0torch.sparse_coo\x85RNtR"),
    ("taken_back", b"N200N2\x86"),
];

#[test]
fn entries_beside_the_state_dict_are_not_read() {
    let tensors = tensors();
    for legacy in [false, true] {
        let form = Form { protocol: 5, legacy, ..FORM };
        for &(name, value) in BESIDE {
            let found = assert_same(form, |p| {
                p.dict(|p| {
                    p.text(name);
                    p.raw(value);
                    p.text("state_dict");
                    p.state_dict(&tensors);
                });
            });
            assert_eq!(
                (found.others, found.path),
                (vec![name.to_owned()], vec!["state_dict".to_owned()])
            );
        }
    }
    // And in the state dict itself.
    let found = assert_same(FORM, |p| {
        p.state_dict(&tensors);
        p.raw(b"(");
        p.text("layer1.0._extra_state");
        p.raw(b"cio\nBytesIO\n)R");
        p.text("version\x1b[2J");
        p.raw(b"K\x01u");
    });
    assert_eq!(found.others, ["version\\u{1b}[2J"]);
}

#[test]
fn the_state_dict_is_found_under_its_usual_names() {
    let tensors = tensors();
    let names = [
        "state_dict",
        "model_state_dict",
        "model",
        "net",
        "network",
        "module",
        "ema",
        "state_dict_ema",
        "model_ema",
        "model_state",
        "weights",
        "params",
        "generator",
    ];
    for name in names {
        let found = assert_same(FORM, |p| {
            p.dict(|p| {
                p.text(name);
                p.state_dict(&tensors);
                p.text("epoch");
                p.int(3);
                p.text("best");
                p.tensor(&Tensor::new(vec![0.5], &[]));
            });
        });
        assert_eq!(found.path, [name]);
        assert_eq!(found.others, ["epoch", "best"]);
    }
    let doubled = tensors.clone().into_iter().map(|(name, mut tensor)| {
        tensor.elements.iter_mut().for_each(|x| *x *= 2.0);
        (name, tensor)
    });
    let doubled = doubled.collect();
    let found = assert_same(FORM, |p| {
        p.dict(|p| {
            p.text("state_dict_ema");
            p.state_dict(&doubled);
            p.text("model");
            p.dict(|p| {
                p.text("state_dict");
                p.state_dict(&tensors);
            });
        });
    });
    assert_eq!(found.path, ["model", "state_dict"]);
    let mut pickler = Pickler::new(FORM);
    pickler.dict(|p| {
        for name in ["first", "second"] {
            p.text(name);
            p.state_dict(&tensors);
        }
    });
    let error = Checkpoint::parse(&pickler.save()).unwrap_err().to_string();
    assert!(error.contains("several, `first` and `second`"), "{error}");
}

#[test]
fn what_wrappers_put_before_names_is_left_out() {
    let named = |name: &dyn Fn(usize, &str) -> String| {
        let renamed = tensors().into_iter().enumerate();
        renamed.map(|(i, (old, tensor))| (name(i, &old), tensor)).collect::<BTreeMap<_, _>>()
    };
    for prefix in [
        "module.",
        "module.module.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.",
        "net.",
        "model.backbone.",
        "student.",
    ] {
        let tensors = named(&|_, name| format!("{prefix}{name}"));
        let found = assert_same(FORM, |p| p.state_dict(&tensors));
        assert!(found.prefixes.iter().eq([prefix]), "{found:?}");
    }
    let tensors = named(&|i, name| match i % 3 {
        0 => format!("module.{name}"),
        1 => format!("_orig_mod.{name}"),
        _ => name.to_owned(),
    });
    let found = assert_same(FORM, |p| p.state_dict(&tensors));
    assert!(found.prefixes.iter().eq(["_orig_mod.", "module."]), "{found:?}");
    // A part that was compiled.
    let tensors = named(&|_, name| name.replace("layer2.", "layer2._orig_mod."));
    assert_same(FORM, |p| p.state_dict(&tensors));
    // An average: `AveragedModel` counts what it has averaged.
    let mut tensors = named(&|_, name| format!("module.{name}"));
    tensors.insert("n_averaged".to_owned(), Tensor::new(vec![7.0], &[]));
    let found = assert_same(FORM, |p| p.state_dict(&tensors));
    assert_eq!(found.others, ["n_averaged"]);
    // One tensor under two names.
    let mut twice = named(&|_, name| name.to_owned());
    twice.insert("module.fc.bias".to_owned(), Tensor::new(vec![0.0; 5], &[5]));
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&twice);
    let error = Checkpoint::parse(&pickler.save()).unwrap_err();
    assert!(matches!(error, ImportError::SameName { .. }), "{error}");
}

#[test]
fn tensors_are_described_in_every_way_of_pytorchs() {
    let tensors = tensors();
    let as_described = |describe: &dyn Fn(&mut Pickler, &Tensor)| {
        let all: Vec<_> = tensors.iter().collect();
        for legacy in [false, true] {
            assert_same(Form { legacy, ..FORM }, |p| {
                p.ordered(all.len(), |p, i| {
                    p.text(all[i].0);
                    describe(p, all[i].1);
                });
            });
        }
    };
    as_described(&|p, tensor| {
        p.global("torch._utils", "_rebuild_parameter");
        p.raw(b"(");
        p.tensor(tensor);
        p.raw(b"\x88");
        p.ordered(0, |_, _| {});
        p.raw(b"tR");
    });
    as_described(&|p, tensor| {
        p.global("torch._utils", "_rebuild_tensor_v2");
        p.view(tensor, ("torch.cuda", "FloatStorage"), 4);
        p.raw(b"}tR");
    });
    as_described(&|p, tensor| {
        p.global("torch._tensor", "_rebuild_from_type_v2");
        p.raw(b"(");
        p.global("torch._utils", "_rebuild_tensor_v2");
        p.global("torch.nn.parameter", "Parameter");
        p.view(tensor, ("torch", "FloatStorage"), 4);
        p.raw(b"t}tR}b");
    });
    as_described(&|p, tensor| {
        p.global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor");
        p.raw(b"(");
        p.tensor(tensor);
        p.raw(b"NNNtR");
    });
    // A padded storage, and one that holds the channels innermost.
    as_described(&|p, tensor| {
        let mut padded = tensor.clone();
        padded.elements.splice(0..0, [9.0; 3]);
        padded.offset = 3;
        p.tensor(&padded);
    });
    as_described(&|p, tensor| {
        let &[o, i, h, w] = tensor.shape.as_slice() else { return p.tensor(tensor) };
        let mut last = tensor.clone();
        for (at, x) in tensor.elements.iter().enumerate() {
            let (filter, channel, tap) = (at / (i * h * w), at / (h * w) % i, at % (h * w));
            last.elements[(filter * h * w + tap) * i + channel] = *x;
        }
        last.strides = vec![i * h * w, 1, w * i, i];
        assert_eq!(last.elements.len(), o * i * h * w);
        p.tensor(&last);
    });
}

#[test]
fn tensors_of_untyped_storages_have_a_type_of_their_own() {
    let tensors = tensors();
    let all: Vec<_> = tensors.iter().collect();
    let found = assert_same(FORM, |p| {
        p.dict(|p| {
            p.text("model");
            p.ordered(all.len(), |p, i| {
                p.text(all[i].0);
                p.global("torch._utils", "_rebuild_tensor_v3");
                p.view(all[i].1, ("torch.storage", "UntypedStorage"), 1);
                p.global("torch", "float32");
                p.raw(b"tR");
            });
            p.text("float8");
            p.global("torch._utils", "_rebuild_tensor_v3");
            p.view(&Tensor::new(vec![1.0], &[4]), ("torch", "UntypedStorage"), 1);
            p.global("torch", "float8_e5m2");
            p.raw(b"tR");
            p.text("unheard_of");
            p.global("torch._utils", "_rebuild_tensor_v2");
            p.view(&Tensor::new(vec![1.0], &[4]), ("torch", "Float4Storage"), 1);
            p.raw(b"tR");
        });
    });
    assert_eq!(found.others, ["float8", "unheard_of"]);
}

#[test]
fn expanded_tensors_repeat_their_elements() {
    let mut whole = tensors();
    let mut expanded = tensors();
    for (name, tensor) in expanded.iter_mut().filter(|(name, _)| name.ends_with("running_var")) {
        let len = tensor.elements.len();
        tensor.elements.truncate(1);
        tensor.strides = vec![0];
        whole.get_mut(name).unwrap().elements = vec![tensor.elements[0]; len];
    }
    let imported = |tensors| {
        let mut pickler = Pickler::new(FORM);
        pickler.state_dict(tensors);
        packed(&import(&pickler.save(), "reactnet").unwrap())
    };
    assert!(imported(&expanded) == imported(&whole));
}

#[test]
fn sizes_of_64_bits_in_a_zip_are_read() {
    let tensors = tensors();
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&tensors);
    let file = pickler.save();
    // The same entries once more.
    let entries = entries(&file);
    for large in [false, true] {
        let imported = import(&zip(&entries, large), "reactnet").unwrap();
        assert!(packed(&imported) == expected());
    }
    let big = entries.into_iter().map(|(name, content)| match name.ends_with("byteorder") {
        true => (name, b"big".to_vec()),
        false => (name, content),
    });
    let error = Checkpoint::parse(&zip(&big.collect::<Vec<_>>(), false)).unwrap_err();
    assert!(matches!(error, ImportError::BigEndian), "{error}");
}

/// The entries of a zip that `torch_save::zip` wrote, by their own headers.
fn entries(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let u32_at = |at| u16_at(at) | u16_at(at + 2) << 16;
    let mut found = Vec::new();
    let mut at = file.len() - 22;
    let (count, mut at_directory) = (u16_at(at + 10), u32_at(at + 16));
    for _ in 0..count {
        let (len, name_len) = (u32_at(at_directory + 24), u16_at(at_directory + 28));
        at = u32_at(at_directory + 42);
        let start = at + 30 + name_len + u16_at(at + 28);
        let name = String::from_utf8(file[at + 30..][..name_len].to_vec()).unwrap();
        found.push((name, file[start..][..len].to_vec()));
        at_directory += 46 + name_len + u16_at(at_directory + 30);
    }
    found
}

#[test]
fn names_of_a_described_graph_may_begin_as_those_of_wrappers_do() {
    let text = r#"{"normalization": {"mean": [0], "std": [1]}, "nodes": [
        {"name": "image", "op": {"input": {"channels": 1, "height": 2, "width": 2}}},
        {"name": "model.fc", "op": {"linear": {"out_features": 1}}}]}"#;
    let description = Description::from_json(text).unwrap();
    let bytes: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    for start in ["model.", "module.model."] {
        let view = |shape, bytes| TensorView::new(Dtype::F32, shape, bytes).unwrap();
        let tensors = [
            (format!("{start}fc.weight"), view(vec![1, 4], &bytes)),
            (format!("{start}fc.bias"), view(vec![1], &bytes[..4])),
        ];
        let file = serialize(tensors, None).unwrap();
        let described = |parsed: Result<Checkpoint<'_>, ImportError>| {
            parsed.and_then(|tensors| tensors.described(&description)).map(|found| found.read)
        };
        assert!(described(Checkpoint::parse(&file)).is_err(), "{start}");
        let found = described(Checkpoint::parse_for(&file, &description.graph));
        match start {
            "model." => assert_eq!(found.unwrap(), 2),
            _ => assert!(found.unwrap_err().to_string().contains("`model.fc.weight` is missing")),
        }
    }
}

/// A kernel `[O, k, k, I]` as `[O, I, k, k]`; anything else as it is.
fn of_torch(tensor: &Tensor) -> Tensor {
    let [out, height, width, channels] = tensor.shape[..] else { return tensor.clone() };
    let pixels = height * width;
    let place = |i: usize| {
        let (filter, channel, pixel) = (i / (channels * pixels), i / pixels % channels, i % pixels);
        (filter * pixels + pixel) * channels + channel
    };
    let elements = (0..tensor.elements.len()).map(|i| tensor.elements[place(i)]).collect();
    Tensor::new(elements, &[out, channels, height, width])
}

#[test]
fn networks_without_official_names_are_read_by_our_own() {
    let config = Config { widths: Some(vec![8, 16, 16]), ..Config::named("vgg-small") };
    let network = arch::build(&config, &Task::unnamed([3, 8, 8], 5)).unwrap();
    let shapes = onebit_model::infer::shapes(&network).unwrap();
    let mut named = BTreeMap::new();
    for (id, node) in network.ids().zip(&network.nodes) {
        for param in network.params(id, &shapes) {
            let seed = named.len() as f32;
            let value = |i: usize| {
                1.0 + if param.role == Role::Binary { -1.5 } else { 0.0 }
                    + (i as f32 * 0.7 + seed).sin() / 2.0
            };
            let values: Vec<f32> = (0..param.len()).map(value).collect();
            named.insert(node.param_name(param.suffix), Tensor::new(values, &param.shape));
        }
    }
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&named);
    let bytes = pickler.save();
    let checkpoint = Checkpoint::parse(&bytes).unwrap();
    checkpoint.check_names(&network).unwrap();
    assert_eq!(checkpoint.classes().unwrap(), 5);
    let imported = checkpoint.weights(network.clone()).unwrap();
    assert_eq!(imported.read, named.len());
    for (name, tensor) in &imported.weights.tensors {
        assert_eq!(tensor.data, onebit_model::Data::F32(named[name].elements.clone()), "{name}");
    }
    // As safetensors, and under a prefix.
    let data: BTreeMap<String, Vec<u8>> = named
        .iter()
        .map(|(name, t)| {
            (format!("model.{name}"), t.elements.iter().flat_map(|x| x.to_le_bytes()).collect())
        })
        .collect();
    let views = data.iter().map(|(name, bytes)| {
        let shape = named[&name["model.".len()..]].shape.clone();
        (name, TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    let bytes = serialize(views, None).unwrap();
    let second = Checkpoint::parse(&bytes).unwrap().weights(network.clone()).unwrap();
    let weights = |imported: &Verified<Weights>| imported.tensors.clone();
    assert_eq!(weights(&second.weights), weights(&imported.weights));
    // With kernels in PyTorch's order of axes, as onebit.torch saves them.
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&named.iter().map(|(name, t)| (name.clone(), of_torch(t))).collect());
    let bytes = pickler.save();
    let third = Checkpoint::parse(&bytes).unwrap().weights(network.clone()).unwrap();
    assert_eq!(weights(&third.weights), weights(&imported.weights));
    // One that is missing is named as such.
    named.remove("feature.1.bn.bias");
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&named);
    let bytes = pickler.save();
    let error = Checkpoint::parse(&bytes).unwrap().weights(network.clone()).unwrap_err();
    assert_eq!(error.to_string(), "tensor `feature.1.bn.bias` is missing");
    // The official names are not those of this network.
    let bytes = fixture("reactnet.zip.pth");
    let error = Checkpoint::parse(&bytes).unwrap().check_names(&network).unwrap_err().to_string();
    assert!(error.contains("`stem.conv.weight` of the network `vgg-small`"), "{error}");
    assert!(error.contains("only birealnet18, birealnet34, reactnet18"), "{error}");
}

#[test]
fn an_object_in_place_of_a_tensor_is_named() {
    let mut tensors = tensors();
    tensors.remove("fc.bias");
    let mut pickler = Pickler::new(FORM);
    pickler.state_dict(&tensors);
    pickler.raw(b"(");
    pickler.text("fc.bias");
    pickler.raw(b"ctorch._utils\n_rebuild_qtensor\n(NNtRu");
    let error = import(&pickler.save(), "reactnet").unwrap_err().to_string();
    assert!(error.contains("`fc.bias` is an object of `torch._utils._rebuild_qtensor`"), "{error}");
}

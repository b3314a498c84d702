//! Fetching a data set from a server or a folder: all or nothing, and only the published content.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use common::gzip;
use onebit_data::{Content, Download, DownloadPlan, Error, Packing, Source, fetch, list};

const HELLO: Content<'_> = Content {
    file: "hello.txt",
    bytes: 5,
    sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
};
const ABC: Content<'_> = Content {
    file: "abc.txt",
    bytes: 3,
    sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
};
const TWO_FILES: DownloadPlan<'_> = DownloadPlan {
    name: "words",
    base: "http://127.0.0.1:9",
    downloads: &[
        Download { file: "hello.txt.gz", packing: Packing::Gzip, contents: &[HELLO] },
        Download { file: "abc.txt.gz", packing: Packing::Gzip, contents: &[ABC] },
    ],
};
const ARCHIVE: DownloadPlan<'_> = DownloadPlan {
    name: "words",
    base: "http://127.0.0.1:9",
    downloads: &[Download {
        file: "words.tar.gz",
        packing: Packing::TarGzip,
        contents: &[HELLO, ABC],
    }],
};

/// How the server answers one path.
#[derive(Clone)]
enum Answer {
    Whole(Vec<u8>),
    Raw(Vec<u8>),
}

/// Serves `answers` by path until the test process ends; returns the address.
fn serve(answers: Vec<(&'static str, Answer)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let wanted = request.split(' ').nth(1).unwrap_or("").to_owned();
            let answer = answers.iter().find(|(path, _)| *path == wanted);
            let response = match answer {
                Some((_, Answer::Whole(body))) => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
                    [head.as_bytes(), b"Connection: close\r\n\r\n", body].concat()
                }
                Some((_, Answer::Raw(response))) => response.clone(),
                None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .to_vec(),
            };
            stream.write_all(&response).ok();
        }
    });
    address
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn get(plan: &DownloadPlan<'_>, data: &Path, source: &Source) -> Result<(), Error> {
    plan.fetch(data, source, &mut |_, _, _| {}).map(|folder| assert!(plan.verify(&folder).is_ok()))
}

fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

#[test]
fn a_whole_set_arrives_with_progress_and_is_not_fetched_again() {
    let base = serve(vec![
        ("/a/hello.txt.gz", Answer::Whole(gzip(b"hello"))),
        ("/a/abc.txt.gz", Answer::Whole(b"abc".to_vec())),
    ]);
    let data = tempfile::tempdir().unwrap();
    let source = Source::Url(format!("{base}/a/"));
    let mut reports = Vec::new();
    let folder = TWO_FILES
        .fetch(data.path(), &source, &mut |file, done, total| {
            reports.push((file.to_owned(), done, total));
        })
        .unwrap();
    assert_eq!(files(data.path()), ["words"]);
    assert_eq!(files(&folder), ["abc.txt", "hello.txt"]);
    assert_eq!(fs::read(folder.join("hello.txt")).unwrap(), b"hello");
    assert!(reports.contains(&("abc.txt.gz".to_owned(), 3, Some(3))), "{reports:?}");

    let nowhere = Source::Dir("nowhere".into());
    assert!(get(&TWO_FILES, data.path(), &nowhere).is_ok());
    fs::write(folder.join("abc.txt"), "abd").unwrap();
    assert!(get(&TWO_FILES, data.path(), &nowhere).is_err());
    get(&TWO_FILES, data.path(), &source).unwrap();
    assert_eq!(fs::read(folder.join("abc.txt")).unwrap(), b"abc");
}

#[test]
fn bad_downloads_leave_nothing_behind() {
    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n".to_vec();
    let endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let huge =
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\nConnection: close\r\n\r\n".to_vec();
    let elsewhere = serve(Vec::new()).replace("http:", "https:");
    let redirect = format!(
        "HTTP/1.1 301 Moved\r\nLocation: {elsewhere}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let truncated_gzip = gzip(b"hello")[..12].to_vec();
    for (answer, part) in [
        (Answer::Whole(gzip(b"hallo")), "expected 2cf24dba5fb0a30e"),
        (Answer::Whole(gzip(b"hello!")), "content of hello.txt is longer, expected 5 bytes"),
        (Answer::Whole(gzip(&vec![0; 50_000_000])), "is longer, expected 5 bytes"),
        (Answer::Whole(gzip(b"hell")), "content of hello.txt is 4 bytes, expected 5 bytes"),
        (Answer::Whole(b"\x1f\x8bgarbage".to_vec()), "content is damaged"),
        (Answer::Whole(truncated_gzip.clone()), "content is damaged"),
        (Answer::Whole(Vec::new()), "is 0 bytes"),
        (Answer::Raw([announced.as_slice(), &truncated_gzip].concat()), "the transfer broke off"),
        (Answer::Raw([announced.as_slice(), b"hell"].concat()), "the transfer broke off"),
        (Answer::Raw([endless.as_slice(), &vec![b'x'; 3 << 20]].concat()), "is longer"),
        (Answer::Raw(huge), "announces 9999999999 bytes"),
        (Answer::Raw(redirect.into_bytes()), "insists on https"),
        (Answer::Raw(b"not http at all\r\n\r\n".to_vec()), "the download failed"),
    ] {
        let base =
            serve(vec![("/hello.txt.gz", answer), ("/abc.txt.gz", Answer::Whole(gzip(b"abc")))]);
        let data = tempfile::tempdir().unwrap();
        let error = get(&TWO_FILES, data.path(), &Source::Url(base)).unwrap_err().to_string();
        assert!(error.contains("hello.txt.gz") && error.contains(part), "`{error}` or `{part}`");
        assert!(!error.contains('\n'), "{error}");
        assert!(files(data.path()).is_empty(), "{error}");
    }
}

#[test]
fn missing_files_and_addresses_say_what_to_do() {
    let base = serve(vec![("/hello.txt.gz", Answer::Whole(gzip(b"hello")))]);
    let data = tempfile::tempdir().unwrap();
    for (source, parts) in [
        (Source::Url(base), ["/abc.txt.gz", "status 404", "by other means"]),
        (Source::Url("https://127.0.0.1:9".to_owned()), ["no TLS", "https://", "by other means"]),
        (Source::Official, ["127.0.0.1:9/hello.txt.gz", "the download failed", "by other means"]),
    ] {
        let result = get(&TWO_FILES, data.path(), &source);
        common::assert_says(result, &parts);
        assert!(files(data.path()).is_empty());
    }
    let unknown = fetch("words", data.path(), &Source::Official, &mut |_, _, _| {});
    common::assert_says(unknown, &["`words`", "fashion-mnist, mnist, cifar10"]);
}

#[test]
fn an_archive_is_unpacked_by_file_names_only() {
    let evil: &[u8] = b"out of the folder";
    let body = tar_gz(&[
        ("words/readme.html", evil),
        ("words/abc.txt", b"abc"),
        ("deep/er/hello.txt", b"hello"),
        ("again/hello.txt", b"another"),
    ]);
    let base = serve(vec![("/words.tar.gz", Answer::Whole(body))]);
    let data = tempfile::tempdir().unwrap();
    get(&ARCHIVE, data.path(), &Source::Url(base)).unwrap();
    assert_eq!(files(&data.path().join("words")), ["abc.txt", "hello.txt"]);

    for (members, part) in [
        (vec![("abc.txt", b"abc".as_slice())], "does not hold hello.txt"),
        (vec![("abc.txt", b"abd".as_slice())], "sha256"),
        (vec![("abc.txt", b"abcd".as_slice())], "longer"),
    ] {
        let base = serve(vec![("/words.tar.gz", Answer::Whole(tar_gz(&members)))]);
        let data = tempfile::tempdir().unwrap();
        common::assert_says(get(&ARCHIVE, data.path(), &Source::Url(base)), &[part]);
        assert!(files(data.path()).is_empty());
    }
}

#[test]
fn a_folder_may_hold_the_downloads_or_their_content() {
    let from = tempfile::tempdir().unwrap();
    let source = Source::Dir(from.path().to_owned());
    let data = tempfile::tempdir().unwrap();
    fs::write(from.path().join("hello.txt.gz"), gzip(b"hello")).unwrap();
    let missing = get(&TWO_FILES, data.path(), &source);
    common::assert_says(missing, &["abc.txt.gz: not found", "abc.txt plain or with .gz"]);
    assert!(files(data.path()).is_empty());
    fs::write(from.path().join("abc.txt"), "abc").unwrap();
    get(&TWO_FILES, data.path(), &source).unwrap();

    let data = tempfile::tempdir().unwrap();
    get(&ARCHIVE, data.path(), &source).unwrap();
    assert_eq!(fs::read(data.path().join("words/hello.txt")).unwrap(), b"hello");
    fs::write(from.path().join("abc.txt"), "abx").unwrap();
    let data = tempfile::tempdir().unwrap();
    common::assert_says(get(&ARCHIVE, data.path(), &source), &["abc.txt", "sha256"]);
}

#[test]
fn an_incomplete_set_is_listed_as_absent() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("mnist");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), "short").unwrap();
    let mnist = list(data.path()).into_iter().find(|set| set.name == "mnist").unwrap();
    assert!(matches!(mnist.state, onebit_data::SetState::Absent { .. }));
}

#[test]
fn what_killed_fetches_have_left_is_removed_by_the_next_one() {
    let (data, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("hello.txt"), "hello").unwrap();
    fs::write(from.path().join("abc.txt"), "abc").unwrap();
    if let Some(path) = std::env::var_os("ONEBIT_TEST_KILLED") {
        let source = Source::Dir(from.path().to_owned());
        TWO_FILES.fetch(Path::new(&path), &source, &mut |_, _, _| std::process::abort()).unwrap();
    }
    let kill = || {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_killed_fetches_have_left_is_removed_by_the_next_one"])
            .env("ONEBIT_TEST_KILLED", data.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
    };
    kill();
    kill();
    assert_eq!(files(data.path()).len(), 2, "{:?}", files(data.path()));
    // What an older program or a power cut leaves, what another process is writing, and what belongs to others.
    fs::create_dir(data.path().join(".words.4294967295.part")).unwrap();
    fs::write(data.path().join(".words.4294967295.part/hello.txt"), "hel").unwrap();
    let lock = fs::File::create(data.path().join(".words.77777777.lock")).unwrap();
    lock.lock().unwrap();
    fs::create_dir(data.path().join(".words.77777777.part")).unwrap();
    fs::create_dir(data.path().join(".words.old.part")).unwrap();
    fs::create_dir(data.path().join(".wordsmith.1.part")).unwrap();
    get(&TWO_FILES, data.path(), &Source::Dir(from.path().to_owned())).unwrap();
    let others =
        [".words.77777777.lock", ".words.77777777.part", ".words.old.part", ".wordsmith.1.part"];
    assert_eq!(files(data.path()), [&others[..], &["words"]].concat());
    drop(lock);
    // A set that is whole already is no reason to leave them.
    get(&TWO_FILES, data.path(), &Source::Dir("nowhere".into())).unwrap();
    assert_eq!(files(data.path()), [".words.old.part", ".wordsmith.1.part", "words"]);
}

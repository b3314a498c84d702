//! Downloads of published data sets, kept only with the right checksum.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::bufread::GzDecoder;
use onebit_files::AtomicFile;
use sha2::{Digest, Sha256};

use onebit_files::hex;

use crate::Error;
use crate::download_plan::{Content, Download, DownloadPlan, Packing};
use crate::files::open_regular;
use crate::gzip::{GZIP_MAGIC, find_plain_or_gz};
use crate::sets::SETS;
use crate::staging::Staging;
use onebit_files::{shown, shown_within};

const SLACK: u64 = 1 << 20;
const LONGEST_REASON: usize = 200;
const MAX_ARCHIVE_MEMBERS: usize = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const ADVICE: &str = "bring the files of the set by other means";

/// Where [`fetch`] takes files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The official address of the set.
    Official,
    /// Another `http://` address that serves the same files.
    Url(String),
    /// A folder that holds the downloads, or their unpacked content (plain or each with `.gz`).
    Dir(PathBuf),
}

/// Reports progress: the file, the bytes so far, and the bytes in all where the source says so.
pub type Progress<'a> = dyn FnMut(&str, u64, Option<u64>) + 'a;

/// Brings the published set `name` into `data_dir` and returns its folder there.
///
/// Downloads use plain HTTP, because TLS would need a C toolchain to build; what is kept is decided
/// by the sha256 of the unpacked content. Files are unpacked while they arrive, never beyond their
/// known length, into a temporary folder that becomes the set's folder by a rename, or disappears; what is left of one
/// whose process was killed is removed first. A set that is already there and whole is left as it is.
///
/// # Errors
///
/// If `name` is not a set that can be fetched, the address is `https`, the transfer fails, the
/// content is not the published one, or the folder cannot be written.
pub fn fetch(
    name: &str,
    data_dir: &Path,
    source: &Source,
    progress: &mut Progress<'_>,
) -> Result<PathBuf, Error> {
    let plan = SETS.iter().find(|set| set.name == name).and_then(|set| set.download_plan.as_ref());
    match plan {
        Some(plan) => plan.fetch(data_dir, source, progress),
        None => {
            let names: Vec<&str> =
                SETS.iter().filter(|set| set.download_plan.is_some()).map(|set| set.name).collect();
            Err(Error::setting(
                "data set to fetch",
                format!("`{}`", shown(name)),
                format!("one of {}", names.join(", ")),
            ))
        }
    }
}

impl DownloadPlan<'_> {
    /// Brings this set into `data_dir` and returns its folder there; see [`fetch`].
    ///
    /// # Errors
    ///
    /// As [`fetch`].
    pub fn fetch(
        &self,
        data_dir: &Path,
        source: &Source,
        progress: &mut Progress<'_>,
    ) -> Result<PathBuf, Error> {
        let folder = data_dir.join(self.name);
        Staging::remove_leftovers(data_dir, self.name);
        if self.verify(&folder).is_ok() {
            return Ok(folder);
        }
        let staging = Staging::new(data_dir, self.name)?;
        for download in self.downloads {
            match source {
                Source::Official => fetch_url(self.base, download, &staging, progress)?,
                Source::Url(base) => fetch_url(base, download, &staging, progress)?,
                Source::Dir(from) => fetch_dir(from, download, &staging, progress)?,
            }
        }
        staging.publish(&folder, self.contents())?;
        Ok(folder)
    }

    /// Checks that `folder` holds the whole set, byte for byte.
    ///
    /// # Errors
    ///
    /// If a file is missing or its content is not the published one.
    pub fn verify(&self, folder: &Path) -> Result<(), Error> {
        for content in self.contents() {
            let path = folder.join(content.file);
            let mut file = open_regular(&path, "a file of the data set")?;
            check(&path.display().to_string(), content, &mut file, &mut |_| Ok(()))?;
        }
        Ok(())
    }
}

fn fetch_url(
    base: &str,
    download: &Download<'_>,
    staging: &Staging,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let url = format!("{}/{}", base.trim_end_matches('/'), download.file);
    let failed = |reason: String| Error::Download { url: url.clone(), reason };
    if !url.starts_with("http://") {
        return Err(failed(format!(
            "only http:// addresses can be fetched, because this program has no TLS; {ADVICE}"
        )));
    }
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(READ_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .build()
        .new_agent();
    let response = agent.get(&url).call().map_err(|error| failed(explain(&error)))?;
    let body = response.into_body();
    let total = body.content_length();
    let limit = download.contents.iter().map(|content| content.bytes).sum::<u64>() + SLACK;
    if let Some(total) = total.filter(|&total| total > limit) {
        return Err(failed(format!(
            "the server announces {total} bytes, expected at most {limit}"
        )));
    }
    let mut reader = Counted {
        inner: body.into_reader(),
        done: 0,
        limit,
        total,
        report: &mut |done, total| progress(download.file, done, total),
    };
    unpack(&url, download, &mut BufReader::new(&mut reader), staging)
}

fn fetch_dir(
    from: &Path,
    download: &Download<'_>,
    staging: &Staging,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let packed = from.join(download.file);
    if packed.exists() {
        return copy_file(&packed, download, staging, progress);
    }
    for content in download.contents {
        let expected = format!(
            "this file, or {} plain or with .gz at the end, in the folder given",
            content.file
        );
        let found = find_plain_or_gz(from, content.file, &expected);
        let path = found.map_err(|error| match error {
            Error::File(onebit_files::Error::Missing { expected, .. }) => {
                onebit_files::Error::Missing { path: packed.clone(), expected }.into()
            }
            error => error,
        })?;
        let single = Download {
            file: content.file,
            packing: Packing::Gzip,
            contents: std::slice::from_ref(content),
        };
        copy_file(&path, &single, staging, progress)?;
    }
    Ok(())
}

fn copy_file(
    path: &Path,
    download: &Download<'_>,
    staging: &Staging,
    progress: &mut Progress<'_>,
) -> Result<(), Error> {
    let refused = |source| Error::read(path, source, "a file of the data set");
    let file = open_regular(path, "a file of the data set")?;
    let total = file.metadata().map_err(refused)?.len();
    let mut reader = Counted {
        inner: file,
        done: 0,
        limit: u64::MAX,
        total: Some(total),
        report: &mut |done, total| progress(download.file, done, total),
    };
    unpack(&path.display().to_string(), download, &mut BufReader::new(&mut reader), staging)
}

/// Unpacks a download into the staging folder, checking every content.
fn unpack(
    origin: &str,
    download: &Download<'_>,
    reader: &mut dyn BufRead,
    staging: &Staging,
) -> Result<(), Error> {
    let gzip =
        reader.fill_buf().map_err(|error| transfer_error(origin, &error))?.starts_with(&GZIP_MAGIC);
    let mut reader: Box<dyn Read + '_> =
        if gzip { Box::new(GzDecoder::new(reader)) } else { Box::new(reader) };
    match (download.packing, download.contents) {
        (Packing::Gzip, [content]) => store(origin, content, &mut reader, staging),
        (Packing::Gzip, contents) => Err(Error::setting(
            format!("number of contents of {}", download.file),
            contents.len(),
            "1, because gzip holds one file",
        )),
        (Packing::TarGzip, contents) => unpack_tar(origin, contents, &mut reader, staging),
    }
}

fn unpack_tar(
    origin: &str,
    contents: &[Content<'_>],
    reader: &mut dyn Read,
    staging: &Staging,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| transfer_error(origin, &error);
    let limit = contents.iter().map(|content| content.bytes).sum::<u64>() + SLACK;
    let mut archive = tar::Archive::new(reader.take(limit));
    let mut stored = vec![false; contents.len()];
    for member in archive.entries().map_err(failed)?.take(MAX_ARCHIVE_MEMBERS) {
        let mut member = member.map_err(failed)?;
        let path = member.path().map_err(failed)?.into_owned();
        let wanted = contents
            .iter()
            .zip(&mut stored)
            .find(|(content, stored)| !**stored && path.file_name() == Some(content.file.as_ref()));
        if let Some((content, stored)) = wanted {
            store(&format!("{origin}, {}", content.file), content, &mut member, staging)?;
            *stored = true;
        }
    }
    match contents.iter().zip(&stored).find(|(_, stored)| !**stored) {
        Some((content, _)) => Err(Error::Download {
            url: origin.to_owned(),
            reason: format!("the archive does not hold {}; {ADVICE}", content.file),
        }),
        None => Ok(()),
    }
}

/// Writes a content into the staging folder, checked.
fn store(
    origin: &str,
    content: &Content<'_>,
    reader: &mut dyn Read,
    staging: &Staging,
) -> Result<(), Error> {
    let mut file = AtomicFile::create(&staging.folder().join(content.file))?;
    check(origin, content, reader, &mut |bytes| Ok(file.write(bytes)?))?;
    Ok(file.commit()?)
}

/// Passes content on to `sink` while checking that its length and sha256 are the published ones.
fn check(
    origin: &str,
    content: &Content<'_>,
    reader: &mut dyn Read,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = reader.take(content.bytes.saturating_add(1));
    let (mut hash, mut length) = (Sha256::new(), 0u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(transfer_error(origin, &error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        length += count as u64;
        hash.update(bytes);
        sink(bytes)?;
    }
    if length != content.bytes {
        let found =
            if length > content.bytes { "longer".to_owned() } else { format!("{length} bytes") };
        return Err(Error::Download {
            url: origin.to_owned(),
            reason: format!(
                "the content of {} is {found}, expected {} bytes; {ADVICE}",
                content.file, content.bytes
            ),
        });
    }
    let found = hex(&hash.finalize());
    if found != content.sha256 {
        return Err(Error::Checksum {
            origin: origin.to_owned(),
            found,
            expected: content.sha256.to_owned(),
        });
    }
    Ok(())
}

fn transfer_error(origin: &str, error: &std::io::Error) -> Error {
    Error::Download {
        url: origin.to_owned(),
        reason: format!(
            "the transfer broke off or the content is damaged ({}); try again, or {ADVICE}",
            shown_within(&error.to_string(), LONGEST_REASON)
        ),
    }
}

fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(code) => format!("the server answers with status {code}; {ADVICE}"),
        ureq::Error::Tls(_) | ureq::Error::TlsRequired => {
            format!("the server insists on https, and this program has no TLS; {ADVICE}")
        }
        error => format!(
            "the download failed ({}); check the network, or {ADVICE}",
            shown_within(&error.to_string(), LONGEST_REASON)
        ),
    }
}

/// Counts what passes, reports it, and refuses to go beyond a limit.
struct Counted<'a, R> {
    inner: R,
    done: u64,
    limit: u64,
    total: Option<u64>,
    report: &'a mut dyn FnMut(u64, Option<u64>),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done = self.done.saturating_add(count as u64);
        if self.done > self.limit {
            return Err(std::io::Error::other(format!("more than {} bytes arrive", self.limit)));
        }
        (self.report)(self.done, self.total);
        Ok(count)
    }
}

//! What is downloaded for a published data set, and what must come out of it.

/// How to get a data set: what to download and what must come out of it.
///
/// The checksums are of the unpacked content, because the same content is published in several
/// gzip containers (the official site's, Debian's) that differ in a few header bytes.
#[derive(Debug, Clone, Copy)]
pub struct DownloadPlan<'a> {
    /// The name of the set, and of its folder in the data folder.
    pub name: &'a str,
    /// The official address, to which `/` and the name of a download are appended.
    pub base: &'a str,
    /// The files to download.
    pub downloads: &'a [Download<'a>],
}

/// One file to download.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// The name of the file at the address.
    pub file: &'a str,
    /// How the content is packed in it.
    pub packing: Packing,
    /// What must come out of it.
    pub contents: &'a [Content<'a>],
}

/// How a download packs its content. A stream that is not gzip is taken as already unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// One file, compressed with gzip.
    Gzip,
    /// A tar archive, compressed with gzip; members are recognised by their file names.
    TarGzip,
}

/// One unpacked file.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Its name in the folder of the set.
    pub file: &'a str,
    /// Its exact length.
    pub bytes: u64,
    /// Its sha256 in lower-case hexadecimal.
    pub sha256: &'a str,
}

impl DownloadPlan<'_> {
    /// The bytes that the set takes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.contents().map(|content| content.bytes).sum()
    }

    pub(crate) fn contents(&self) -> impl Iterator<Item = &Content<'_>> {
        self.downloads.iter().flat_map(|download| download.contents)
    }
}

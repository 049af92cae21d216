//! Bringing the mapped payload into memory, with progress, and finding out how much of it is there already.

use lapwing_quant::pages;

use super::Gguf;

/// Payload read between two reports of progress: small enough for a smooth bar on a slow disk.
const CHUNK: usize = 8 << 20;
/// No system this runs on has smaller pages.
const PAGE: usize = 4096;

/// How far [`Gguf::page_in`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageIn {
    /// Bytes of payload now read.
    pub bytes_done: u64,
    /// Bytes of payload in all shards.
    pub bytes_total: u64,
}

impl Gguf {
    /// Reads the payload of all shards into the page cache, front to back, and reports after each chunk, the last
    /// report with `bytes_done == bytes_total`. Takes no memory of its own: the system may drop the pages again.
    pub fn page_in(&self, progress: &mut dyn FnMut(PageIn)) {
        let bytes_total = self.payload_bytes();
        let mut bytes_done = 0;
        for file in &self.files {
            let payload = &file.map.bytes()[file.data_start..];
            file.map.will_need(file.data_start, payload.len().min(2 * CHUNK));
            for (n, chunk) in payload.chunks(CHUNK).enumerate() {
                let ahead = (n + 2) * CHUNK;
                if ahead < payload.len() {
                    file.map.will_need(file.data_start + ahead, CHUNK.min(payload.len() - ahead));
                }
                touch(chunk);
                bytes_done += chunk.len() as u64;
                progress(PageIn { bytes_done, bytes_total });
            }
        }
    }

    /// Bytes from the start of the payload to the end, of all shards: what [`Gguf::page_in`] reads.
    pub fn payload_bytes(&self) -> u64 {
        self.files.iter().map(|f| (f.map.bytes().len() - f.data_start) as u64).sum()
    }

    /// Bytes of the payload that are in the page cache now, about; `None` where the system does not tell. Linux
    /// counts everything as present in files that the user may neither own nor write.
    pub fn residency(&self) -> Option<u64> {
        self.files.iter().map(|f| pages::resident_bytes(&f.map.bytes()[f.data_start..]).map(|n| n as u64)).sum()
    }
}

/// Reads a byte of every page.
fn touch(bytes: &[u8]) {
    let sum = bytes.iter().step_by(PAGE).chain(bytes.last()).fold(0u8, |sum, &b| sum.wrapping_add(b));
    std::hint::black_box(sum);
}

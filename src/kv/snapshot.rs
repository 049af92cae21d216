//! The keys and values of a sequence as bytes, to be kept in a file and read back by another process.
//!
//! Layout: layer by layer, keys before values, `[page][kv head][slot]` rows as the cache stores them, of used slots
//! only. Page numbers do not show, so the same sequence gives the same bytes wherever its pages are.

use super::{Kv, Sequence};
use crate::error::{Error, Result};
use lapwing_quant::attend::{Heads, KvType, PAGE, Places};
use std::io::{self, Read, Write};
use std::ops::Range;

impl Kv {
    /// Bytes that the snapshot of `tokens` positions has; `None` when that many cannot be counted.
    pub fn snapshot_bytes(&self, tokens: usize) -> Option<u64> {
        let per_layer = (tokens as u64).checked_mul(self.store.shape().token_bytes() as u64)?;
        per_layer.checked_mul(self.store.layers() as u64)
    }

    /// Writes the snapshot of a sequence. `progress` hears bytes written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, seq: &Sequence, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        let (mut done, heads) = (0, self.store.shape().heads);
        for layer in 0..self.store.layers() {
            let (keys, values) = self.store.layer(layer);
            for plane in [keys, values] {
                for at in used(heads, seq, seq.len(), (plane.places, plane.dtype)) {
                    out.write_all(&plane.bytes[at.clone()])?;
                    done += at.len() as u64;
                }
                progress(done);
            }
        }
        Ok(())
    }

    /// A sequence of `tokens` with the keys and values of a snapshot. `progress` hears bytes read.
    ///
    /// # Errors
    /// When the cache has no room or `input` fails or ends early; nothing is in the cache then.
    pub fn read(&mut self, tokens: &[u32], input: &mut dyn Read, progress: &mut dyn FnMut(u64)) -> Result<Sequence> {
        let mut seq = Sequence::default();
        self.reserve(&mut seq, tokens.len())?;
        match self.fill(&seq, tokens.len(), input, progress) {
            Ok(()) => {
                seq.commit(&mut self.pages, tokens);
                Ok(seq)
            }
            Err(e) => {
                seq.truncate(&mut self.pages, 0);
                Err(Error::file(format!("the saved keys and values cannot be read: {e}")))
            }
        }
    }

    fn fill(
        &mut self,
        seq: &Sequence,
        len: usize,
        input: &mut dyn Read,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        let (mut done, heads) = (0, self.store.shape().heads);
        for layer in 0..self.store.layers() {
            let (keys, values) = self.store.layer_mut(layer);
            for plane in [keys, values] {
                for at in used(heads, seq, len, (plane.places, plane.dtype)) {
                    input.read_exact(&mut plane.bytes[at.clone()])?;
                    done += at.len() as u64;
                }
                progress(done);
            }
        }
        Ok(())
    }
}

/// Where the first `len` rows of a sequence are in a plane.
fn used(
    heads: Heads,
    seq: &Sequence,
    len: usize,
    (places, dtype): (Places, KvType),
) -> impl Iterator<Item = Range<usize>> {
    let row = dtype.row_bytes(heads.head_dim);
    seq.pages().iter().take(len.div_ceil(PAGE)).enumerate().flat_map(move |(i, &page)| {
        let used = (len - i * PAGE).min(PAGE);
        (0..heads.n_kv_heads).map(move |head| {
            let start = places.head(heads, dtype, page, head);
            start..start + used * row
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::store::Shape;
    use super::*;

    fn kv(pages: usize) -> Kv {
        let heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 32 };
        Kv::new(pages, 3, Shape { heads, keys: KvType::Q8_0, values: KvType::F16 }).unwrap()
    }

    /// A cache with a sequence of `n` tokens whose bytes tell their places apart.
    fn filled(n: u32) -> (Kv, Sequence) {
        let mut kv = kv(4);
        for layer in 0..3 {
            let (keys, values) = kv.store.layer_mut(layer);
            for (k, plane) in [keys, values].into_iter().enumerate() {
                let (at, len) = (plane.places, plane.dtype.row_bytes(32) * PAGE * 2);
                for page in 0..4 {
                    let bytes = &mut plane.bytes[at.first + page * at.step..][..len];
                    let seed = page * 5 + layer * 3 + k;
                    bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7 + i / 256 + seed) as u8);
                }
            }
        }
        let mut seq = Sequence::default();
        kv.reserve(&mut seq, n as usize).unwrap();
        seq.commit(&mut kv.pages, &(0..n).collect::<Vec<_>>());
        (kv, seq)
    }

    fn bytes(kv: &Kv, seq: &Sequence) -> Vec<u8> {
        let mut out = vec![];
        kv.write(seq, &mut out, &mut |_| {}).unwrap();
        assert_eq!(Some(out.len() as u64), kv.snapshot_bytes(seq.len()));
        out
    }

    #[test]
    fn what_was_written_is_read_back_into_other_pages() {
        for n in [0, 1, 63, 64, 65, 150] {
            let (from, seq) = filled(n);
            let saved = bytes(&from, &seq);
            let mut to = kv(5);
            let mut taken = Sequence::default();
            to.reserve(&mut taken, 64).unwrap();
            let tokens: Vec<u32> = (0..n).collect();
            let read = to.read(&tokens, &mut saved.as_slice(), &mut |_| {}).unwrap();
            assert_eq!((read.tokens(), read.pages().len()), (&tokens[..], tokens.len().div_ceil(PAGE)));
            assert_eq!(bytes(&to, &read), saved, "{n} tokens");
        }
    }

    #[test]
    fn a_short_file_leaves_nothing_behind() {
        let (from, seq) = filled(100);
        let saved = bytes(&from, &seq);
        let mut to = kv(3);
        let tokens: Vec<u32> = (0..100).collect();
        assert!(to.read(&tokens, &mut &saved[..saved.len() - 1], &mut |_| {}).is_err());
        assert_eq!(to.pages.available(), 3);
        assert!(to.read(&[0; 500], &mut saved.as_slice(), &mut |_| {}).is_err(), "no room");
        assert_eq!(to.pages.available(), 3);
    }
}

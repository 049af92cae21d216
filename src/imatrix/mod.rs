//! Importance matrices: how large the inputs of each weight matrix were over a text, column by column.
//!
//! An [`Entry`] holds, for one tensor, the sums of squares of each input column over all tokens that the matrix was
//! multiplied with, and how many those were; of a tensor of experts, for each expert. `gguf` reads and writes
//! llama.cpp's GGUF form (`NAME.in_sum2`, `NAME.counts`), `dat` reads its older form. Sums are f64 in memory and f32 in
//! files. Invariants: sums are finite and not negative, every entry has at least one value and one count, and the
//! counts divide the values evenly.
//!
//! **Experts that no token went to.** Their sums are stored as zeros with a count of zero. Where importance is asked
//! for ([`Imatrix::importance`]) they get what is known of their inputs: all experts of `ffn_gate_exps` and
//! `ffn_up_exps` read the same vectors, so the mean over the tokens of the other experts is taken; the inputs of
//! `ffn_down_exps` are hidden values of the expert's own, of which nothing is known, so every column counts the same.

mod dat;
mod gguf;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// Tokens that a chunk of the older form is taken to have had, which that form does not tell: llama.cpp's default.
pub const DAT_CHUNK: u64 = 512;
/// Most entries, and most bytes of a name, that a file may have.
const MAX_ENTRIES: usize = 65_536;
/// Most datasets that are listed.
const MAX_DATASETS: usize = 4096;

/// An importance matrix of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imatrix {
    entries: BTreeMap<String, Entry>,
    /// The files that the texts came from.
    pub datasets: Vec<String>,
    /// Tokens per chunk; 0 where nobody said.
    pub chunk_size: u64,
}

/// What is known of one tensor's inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `[matrices, columns]` sums of squares.
    sums: Vec<f64>,
    /// Tokens behind each matrix's sums; one number where it is the same for all.
    counts: Vec<u64>,
}

impl Entry {
    /// An entry of `[matrices, columns]` sums and one count for each matrix, or one for all.
    ///
    /// # Errors
    /// Says what is wrong with the numbers; the caller says whose they are.
    pub fn new(sums: Vec<f64>, counts: Vec<u64>) -> Result<Self, String> {
        if sums.is_empty() || counts.is_empty() || !sums.len().is_multiple_of(counts.len()) {
            return Err(format!("{} sums do not belong to {} counts", sums.len(), counts.len()));
        }
        match sums.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(i) => Err(format!("sum {i} is {}, expected a finite number of 0 or more", sums[i])),
            None => Ok(Self { sums, counts }),
        }
    }

    /// `[matrices, columns]` sums of squares.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Tokens behind each matrix's sums; one number where it is the same for all.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many of the counts are zero.
    pub fn never_hit(&self) -> usize {
        self.counts.iter().filter(|&&n| n == 0).count()
    }

    /// Adds another text's figures for the same tensor.
    fn add(&mut self, other: &Self) -> Result<(), String> {
        if self.sums.len() != other.sums.len() {
            return Err(format!("{} values in one, {} in the other", self.sums.len(), other.sums.len()));
        }
        // A single count stands for all matrices.
        let counts = match (self.counts.len(), other.counts.len()) {
            (a, b) if a == b || a == 1 || b == 1 => a.max(b),
            (a, b) => return Err(format!("{a} counts in one, {b} in the other")),
        };
        let of = |entry: &Self, i: usize| entry.counts[if entry.counts.len() == 1 { 0 } else { i }];
        self.counts = (0..counts).map(|i| of(self, i).saturating_add(of(other, i))).collect();
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        Ok(())
    }

    /// Means of squares of the matrix `at` of `matrices`, `cols` values.
    fn means(&self, at: usize, cols: usize, own_inputs: bool) -> Vec<f32> {
        let count = |i: usize| self.counts[if self.counts.len() == 1 { 0 } else { i }];
        let row = |i: usize| &self.sums[i * cols..(i + 1) * cols];
        if count(at) > 0 {
            return row(at).iter().map(|v| (v / count(at) as f64) as f32).collect();
        }
        let matrices = self.sums.len() / cols;
        let tokens = (0..matrices).map(count).fold(0, u64::saturating_add);
        if own_inputs || tokens == 0 {
            return vec![1.0; cols];
        }
        let hit = || (0..matrices).filter(|&i| count(i) > 0);
        (0..cols).map(|c| (hit().map(|i| row(i)[c]).sum::<f64>() / tokens as f64) as f32).collect()
    }
}

impl Imatrix {
    /// An empty one over chunks of `chunk_size` tokens.
    pub fn new(chunk_size: u64) -> Self {
        Self { chunk_size, ..Self::default() }
    }

    /// Reads a file of either form.
    ///
    /// # Errors
    /// Names the file, and the tensor or offset, of whatever is not a sound importance matrix.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut start = [0; 4];
        let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
        match read {
            Ok(()) if &start == b"GGUF" => gguf::read(path),
            Ok(()) => dat::read(path),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(Error::file(format!(
                "{shown}: has less than 4 bytes, expected an importance matrix; make one with `lapwing imatrix`"
            ))),
            Err(e) => Err(Error::file(format!("{shown}: cannot be read: {e}"))),
        }
    }

    /// The bytes of a file in llama.cpp's GGUF form; the same matrix gives the same bytes.
    ///
    /// # Errors
    /// When a name is too long for a GGUF.
    pub fn to_gguf(&self) -> Result<Vec<u8>> {
        gguf::write(self)
    }

    /// Adds an entry for a tensor that has none yet, or to what is there.
    ///
    /// # Errors
    /// When both are not of the same shape.
    pub fn insert(&mut self, name: &str, entry: Entry) -> Result<()> {
        match self.entries.get_mut(name) {
            Some(mine) => mine.add(&entry).map_err(|e| Error::file(format!("importance of {name} does not fit: {e}"))),
            None => {
                self.entries.insert(name.to_owned(), entry);
                Ok(())
            }
        }
    }

    /// Adds all that another one holds.
    ///
    /// # Errors
    /// When a tensor's entries are not of the same shape.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        for (name, entry) in other.entries {
            self.insert(&name, entry)?;
        }
        self.datasets.extend(other.datasets.into_iter().filter(|d| !self.datasets.contains(d)).collect::<Vec<_>>());
        if self.chunk_size == 0 {
            self.chunk_size = other.chunk_size;
        }
        Ok(())
    }

    /// The entry of a tensor.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All entries, sorted by name.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Chunks of text that it was made from: by the tensor that saw most tokens.
    pub fn chunks(&self) -> u64 {
        let tokens = self.entries.values().flat_map(|e| &e.counts).copied().max().unwrap_or(0);
        tokens.checked_div(self.chunk_size).unwrap_or(0)
    }

    /// Mean squares of the inputs of each tensor, expert after expert: [`Imatrix::importance`] of all of them. Whether
    /// they fit a model's tensors is the caller's to check.
    pub fn weights(&self) -> BTreeMap<String, Vec<f32>> {
        let all = |(name, entry): (&String, &Entry)| {
            let cols = entry.sums.len() / entry.counts.len();
            let own_inputs = own_inputs(name);
            let means = (0..entry.counts.len()).flat_map(|i| entry.means(i, cols, own_inputs)).collect();
            (name.clone(), means)
        };
        self.entries.iter().map(all).collect()
    }

    /// Mean squares of the inputs of a matrix with `cols` columns, `cols` values; of a tensor of experts, of `expert`.
    /// `None` when nothing is known of the tensor. For an expert that no token went to, see the module's opening.
    ///
    /// # Errors
    /// When the entry is of a tensor of another shape: the matrix was made for another model.
    pub fn importance(&self, name: &str, cols: usize, expert: Option<usize>) -> Result<Option<Vec<f32>>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let matrices = entry.sums.len().checked_div(cols).unwrap_or(0);
        let fits = matrices * cols == entry.sums.len() && [1, matrices].contains(&entry.counts.len());
        let at = match expert {
            Some(expert) => expert,
            None if matrices == 1 => 0,
            None => usize::MAX,
        };
        if !fits || at >= matrices {
            let of = expert.map_or_else(String::new, |e| format!(" of expert {e}"));
            return Err(Error::file(format!(
                "the importance matrix has {} values and {} counts for {name}, which does not fit the {cols} columns{of}; \
                 it was made for another model",
                entry.sums.len(),
                entry.counts.len()
            )));
        }
        Ok(Some(entry.means(at, cols, own_inputs(name))))
    }
}

/// Whether each expert of the tensor reads vectors that no other expert reads.
fn own_inputs(name: &str) -> bool {
    name.contains("ffn_down_exps")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sums: &[f64], counts: &[u64]) -> Entry {
        Entry::new(sums.to_vec(), counts.to_vec()).unwrap()
    }

    #[test]
    fn means_of_each_expert() {
        let mut m = Imatrix::default();
        m.insert("blk.0.ffn_gate_exps.weight", entry(&[4.0, 8.0, 0.0, 0.0, 2.0, 4.0], &[4, 0, 2])).unwrap();
        m.insert("blk.0.ffn_down_exps.weight", entry(&[4.0, 8.0, 0.0, 0.0], &[4, 0])).unwrap();
        m.insert("blk.0.attn_q.weight", entry(&[3.0, 6.0], &[3])).unwrap();
        let of = |name: &str, cols, expert| m.importance(&format!("blk.0.{name}.weight"), cols, expert).unwrap();
        assert_eq!(of("ffn_gate_exps", 2, Some(0)), Some(vec![1.0, 2.0]));
        assert_eq!(of("ffn_gate_exps", 2, Some(1)), Some(vec![1.0, 2.0]), "all tokens: (4+2)/6, (8+4)/6");
        assert_eq!(of("ffn_down_exps", 2, Some(1)), Some(vec![1.0, 1.0]), "nothing is known");
        assert_eq!(of("attn_q", 2, None), Some(vec![1.0, 2.0]));
        assert_eq!(of("attn_k", 2, None), None);
        let all = m.weights();
        assert_eq!(all["blk.0.ffn_gate_exps.weight"], [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(all["blk.0.ffn_down_exps.weight"], [1.0, 2.0, 1.0, 1.0]);
        assert_eq!(all["blk.0.attn_q.weight"], [1.0, 2.0]);
        for (cols, expert) in [(3, None), (1, None), (0, None), (2, Some(1))] {
            let e = m.importance("blk.0.attn_q.weight", cols, expert).unwrap_err().to_string();
            assert!(e.contains("blk.0.attn_q.weight") && e.contains("another model"), "{e}");
        }
    }

    #[test]
    fn merging_adds_and_a_single_count_stands_for_all() {
        let mut a = Imatrix { chunk_size: 8, ..Imatrix::default() };
        a.insert("x", entry(&[1.0, 2.0], &[8])).unwrap();
        let mut b = Imatrix::default();
        b.insert("x", entry(&[10.0, 20.0], &[16, 0])).unwrap();
        b.insert("y", entry(&[1.0], &[1])).unwrap();
        a.merge(b).unwrap();
        assert_eq!(a.entry("x"), Some(&entry(&[11.0, 22.0], &[24, 8])));
        assert_eq!((a.entries().len(), a.chunks()), (2, 3));
        assert!(a.insert("x", entry(&[1.0], &[1])).unwrap_err().to_string().contains("x does not fit"));
        assert!(a.insert("x", entry(&[1.0, 1.0, 1.0], &[1, 1, 1])).is_err());
    }

    #[test]
    fn numbers_that_cannot_be() {
        for (sums, counts) in [(vec![], vec![1]), (vec![1.0], vec![]), (vec![1.0; 3], vec![1, 1])] {
            assert!(Entry::new(sums, counts).is_err());
        }
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(Entry::new(vec![0.0, bad], vec![1]).unwrap_err().contains("sum 1"));
        }
    }
}

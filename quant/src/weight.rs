//! A weight matrix in the layout that its kernels read, and the products of several of them in one parallel region.
//!
//! Tried: the gate and up matrices of an MLP tile by tile with SiLU between, so that only their product is written. Prompts
//! were no faster (867 and 901 tokens per second in six interleaved rounds), so results stay as they are.

mod arrange;

use crate::acts::{ActKinds, ActRow, Acts};
use crate::buffer::Bytes;
use crate::formats::{self, DType};
use crate::kernels::{Cell, FEW_ROWS, Kernels, MOST_ROWS, PANEL, Tile};
use crate::panel::{self, Layout};
use crate::threads::{SharedMut, Team};
pub use arrange::Arranger;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Weight bytes that a thread takes at once: few, since the end of a region waits for the last. Two threads compute
/// prompts as fast with 16 to 128 KiB, but a small model's matrices are only a few times 128 KiB per thread of sixteen.
const CHUNK: usize = 32 << 10;
/// Bytes of activation codes that stay in L2 beside a panel, while all panels of a chunk pass.
const NEAR: usize = 384 << 10;

/// A `[rows, cols]` matrix of one format. Immutable; keeps the table it was arranged for.
pub struct Weight {
    dtype: DType,
    rows: usize,
    cols: usize,
    cell: Cell,
    kernels: &'static Kernels,
    bytes: Bytes,
    /// Bytes of one file row (also the average bytes of a row in a panel).
    row_bytes: usize,
    precise: bool,
}

impl Weight {
    /// Takes a matrix in the file's row order; it stays where it is until [`Weight::repack`].
    ///
    /// # Errors
    /// When rows are no whole blocks, or the bytes are not exactly `rows` rows.
    pub fn new(
        dtype: DType,
        rows: usize,
        cols: usize,
        bytes: Bytes,
        kernels: &'static Kernels,
    ) -> Result<Self, String> {
        let row_bytes = dtype
            .row_bytes(cols)
            .ok_or_else(|| format!("rows of {cols} are no whole blocks of {} {}", dtype.block_len(), dtype.name()))?;
        let expected = row_bytes.checked_mul(rows);
        if expected != Some(bytes.len()) || rows == 0 || cols == 0 {
            return Err(format!("{rows} x {cols} {} does not fill {} bytes", dtype.name(), bytes.len()));
        }
        Ok(Self { dtype, rows, cols, cell: kernels.rows_cell(dtype), kernels, bytes, row_bytes, precise: false })
    }

    /// Arranges the rows as the table's best cell wants them. Returns the bytes copied; 0 when they stay in place.
    ///
    /// # Errors
    /// When there is no memory for the copy.
    pub fn repack(&mut self, team: &Team<'_>) -> Result<usize, String> {
        let mut one = [self];
        let mut arranger = Arranger::new(&mut one)?;
        arranger.pack_next(team);
        Ok(arranger.finish())
    }

    /// The cell that it is arranged for, unless it stays as it is.
    fn better_cell(&self) -> Option<Cell> {
        let wide = if self.precise { self.kernels.wide_cell(self.dtype) } else { None };
        let cell = wide.unwrap_or_else(|| self.kernels.cell(self.dtype));
        let possible = cell.layout == Layout::Rows || self.cols.is_multiple_of(crate::acts::GROUP);
        (cell.layout != self.cell.layout && possible).then_some(cell)
    }

    /// The first row that holds a weight or a scale which is no finite number. For a weight still in the file's rows.
    pub fn broken_row(&self, team: &Team<'_>) -> Option<usize> {
        assert_eq!(self.cell.layout, Layout::Rows, "weights are looked at before they are arranged");
        let first = AtomicUsize::new(usize::MAX);
        let panels = self.panels();
        team.each(panels.div_ceil(16), |chunk| {
            for p in chunk * 16..panels.min(chunk * 16 + 16) {
                let (bytes, _) = self.panel(p, 1);
                let row = bytes.chunks_exact(self.row_bytes).position(|row| !formats::is_finite(self.dtype, row));
                if let Some(r) = row {
                    first.fetch_min(p * PANEL + r, Ordering::Relaxed);
                }
            }
        });
        Some(first.into_inner()).filter(|&r| r != usize::MAX)
    }

    /// Asks for more than 8 bits of its inputs, where the format's best tiles read 8 and other programs lose no more than
    /// that: formats with blocks of 32. Before [`Weight::repack`].
    #[must_use]
    pub fn precise(mut self) -> Self {
        use DType::{IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
        self.precise = matches!(self.dtype, Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | IQ4_NL);
        self
    }

    /// Rows, the outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, the inputs of a product.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The format.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The forms of activations that its products read.
    pub fn acts(&self) -> ActKinds {
        ActKinds { rest: self.precise && self.cell.acts.q8, ..self.cell.acts }
    }

    /// Bytes that one product reads.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Row `i` as f32, whatever the layout.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols);
        match self.cell.layout {
            Layout::Rows => {
                formats::dequantize(self.dtype, &self.bytes[i * self.row_bytes..(i + 1) * self.row_bytes], out);
            }
            Layout::R16 => {
                let panel = &self.bytes[i / PANEL * PANEL * self.row_bytes..][..PANEL * self.row_bytes];
                panel::unpack_row(self.dtype, panel, i % PANEL, out);
            }
        }
    }

    fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Activation rows per call of a tile, for `n` of them: blocks of about one size, since a small one has as much work
    /// with the weights. A matrix unit reads activations once per call, from where they are.
    pub(crate) fn row_block(&self, n: usize) -> usize {
        let most = self.cell.most_rows;
        if self.cell.acts.bf16 {
            return most;
        }
        let near = (NEAR / self.cols / 6 * 6).clamp(most.min(FEW_ROWS), most);
        n.div_ceil(n.div_ceil(near).max(1)).next_multiple_of(6).clamp(1, near)
    }

    /// The bytes of `n` panels from `p` on, as far as there are so many, and their rows.
    fn panel(&self, p: usize, n: usize) -> (&[u8], usize) {
        let rows = (n * PANEL).min(self.rows - p * PANEL);
        let stored = if self.cell.layout == Layout::R16 { rows.next_multiple_of(PANEL) } else { rows };
        (&self.bytes[p * PANEL * self.row_bytes..][..stored * self.row_bytes], rows)
    }
}

thread_local! {
    /// Products with what 8-bit codes leave over.
    static SUMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Which activation rows a product takes, and where their results go.
pub enum Rows<'a> {
    /// All of them, in order.
    All,
    /// Row `list[i]` is the i-th.
    Some(&'a [u32]),
}

/// One matrix times some of the activation rows of a region.
pub struct Product<'a> {
    /// The matrix.
    pub weight: &'a Weight,
    /// The activation rows; prompt rows before generated ones.
    pub rows: Rows<'a>,
    /// `[rows taken, weight.rows()]` results.
    pub out: &'a mut [f32],
}

/// A product prepared for its region.
struct Plan<'a> {
    weight: &'a Weight,
    acts: Vec<ActRow<'a>>,
    /// For a weight that needs more than 8 bits: the same rows, with what their 8-bit codes leave over in their place.
    rest: Vec<ActRow<'a>>,
    /// How many of `acts` are prompt rows.
    prompt: usize,
    out: SharedMut<f32>,
    panels_per_chunk: usize,
    first_chunk: usize,
}

/// Computes all products of one layer input in one region.
///
/// # Panics
/// When shapes do not fit, or the activations lack the form a weight reads.
pub fn run(team: &Team<'_>, acts: &Acts, products: &mut [Product<'_>]) {
    let mut chunks = 0;
    let plans: Vec<Plan<'_>> = products.iter_mut().map(|p| plan(acts, p, &mut chunks, team.threads())).collect();
    team.parts(chunks, |chunk| {
        let at = plans.partition_point(|p| p.first_chunk <= chunk) - 1;
        plans[at].chunk(chunk - plans[at].first_chunk);
    });
}

fn plan<'a>(acts: &'a Acts, product: &'a mut Product<'_>, chunks: &mut usize, threads: usize) -> Plan<'a> {
    let weight = product.weight;
    let taken: Vec<usize> = match product.rows {
        Rows::All => (0..acts.n()).collect(),
        Rows::Some(list) => list.iter().map(|&i| i as usize).collect(),
    };
    let prompt = taken.iter().take_while(|&&i| acts.is_prompt(i)).count();
    assert!(!taken[prompt..].iter().any(|&i| acts.is_prompt(i)), "prompt rows come before generated ones");
    let acts: Vec<ActRow<'a>> = taken.into_iter().map(|i| acts.row(i)).collect();
    assert_eq!(product.out.len(), acts.len() * weight.rows, "room for the results of a product");
    assert!(acts.iter().enumerate().all(|(i, a)| a.serves(weight.acts(), weight.cols, i < prompt)));
    let panels_per_chunk = panels_per_chunk(weight, prompt > 0, threads);
    let first_chunk = *chunks;
    if !acts.is_empty() {
        *chunks += weight.panels().div_ceil(panels_per_chunk);
    }
    let rest = acts.iter().filter(|_| weight.acts().rest).map(|a| ActRow { q8: a.rest, ..*a }).collect();
    Plan { weight, acts, rest, prompt, out: SharedMut::new(product.out), panels_per_chunk, first_chunk }
}

/// A chunk is small enough that the last one holds nobody up; the number never changes a result.
fn panels_per_chunk(weight: &Weight, prompt: bool, threads: usize) -> usize {
    let most = weight.cell.prompt_panels;
    if weight.cell.acts.bf16 && prompt {
        // What a matrix unit reads of the activations, it reads once per call: large calls, as far as all have one.
        return weight.panels().div_ceil(4 * threads).next_multiple_of(2).min(most);
    }
    (CHUNK / (PANEL * weight.row_bytes)).clamp(1, 16).next_multiple_of(most.min(2))
}

impl Plan<'_> {
    fn chunk(&self, chunk: usize) {
        let first = chunk * self.panels_per_chunk;
        let end = self.weight.panels().min(first + self.panels_per_chunk);
        let (prompt, generated) = self.acts.split_at(self.prompt);
        let cell = &self.weight.cell;
        let row_block = self.weight.row_block(prompt.len());
        for (i, block) in prompt.chunks(row_block).enumerate() {
            for p in (first..end).step_by(cell.prompt_panels) {
                let panels = cell.prompt_panels.min(end - p);
                self.tile(p, panels, (i * row_block, block.len()), cell.prompt);
            }
        }
        for p in first..end {
            for (i, block) in generated.chunks(cell.most_rows).enumerate() {
                self.tile(p, 1, (self.prompt + i * cell.most_rows, block.len()), cell.generated);
            }
        }
    }

    /// Rows `first..first + len` of the activations times `n` panels from p on.
    fn tile(&self, p: usize, n: usize, (first, len): (usize, usize), tile: crate::kernels::TileFn) {
        let (weights, rows) = self.weight.panel(p, n);
        let stride = self.weight.rows;
        let mut out = [const { MaybeUninit::uninit() }; MOST_ROWS];
        for (i, o) in out[..len].iter_mut().enumerate() {
            o.write(self.out.at((first + i) * stride + p * PANEL));
        }
        // SAFETY: the first `len` were just written; the rest would be 4 KiB of nothing in each of thousands of calls.
        let out: &[*mut f32] = unsafe { std::slice::from_raw_parts(out.as_ptr().cast(), len) };
        let (dtype, cols, acts) = (self.weight.dtype, self.weight.cols, &self.acts[first..first + len]);
        // SAFETY: the cell's table was handed out for this machine; row (first + i) has `rows` results from p * PANEL
        // on inside `out` (its length was checked), and no other chunk writes them.
        unsafe { tile(&Tile { dtype, weights, rows, cols, acts, out }) }
        // Rows in bf16 have nothing left over.
        let rest = self.rest.get(first..first + len).filter(|rest| rest.iter().all(|r| !r.q8.codes.is_empty()));
        let Some(rest) = rest else { return };
        SUMS.with_borrow_mut(|sums| {
            sums.resize(len * rows, 0.0);
            let mut to = [std::ptr::null_mut(); MOST_ROWS];
            to.iter_mut().zip(sums.chunks_exact_mut(rows)).for_each(|(to, sums)| *to = sums.as_mut_ptr());
            // SAFETY: as above; each pointer has `rows` sums behind it.
            unsafe { tile(&Tile { dtype, weights, rows, cols, acts: rest, out: &to[..len] }) }
            for (i, sums) in sums.chunks_exact(rows).enumerate() {
                let at = (first + i) * stride + p * PANEL;
                // SAFETY: the results that were written above.
                self.weight.kernels.vector.add(unsafe { self.out.slice(at..at + rows) }, sums);
            }
        });
    }
}

//! The payload of one tensor as a stream of bytes: rows are converted slab by slab, spread over the team's threads,
//! while what was converted before is written.
//!
//! The bytes do not depend on how rows are cut into slabs and chunks, nor on the threads. Of the rows in the work, the
//! first bad value is reported, whichever thread meets one first.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Mutex;

use lapwing_quant::DType;
use lapwing_quant::formats::{dequantize, is_finite};
use lapwing_quant::kernels::Kernels;
use lapwing_quant::quantize::{Rows, Values, quantize_here};
use lapwing_quant::threads::Team;

use super::mix::is_quantized;
use super::sink::{Sink, lock};
use super::{Plan, Planned, SourceTensor};
use crate::error::{Error, Result};

/// Weights that are converted between two writes: enough that threads rarely wait for each other.
const SLAB: usize = 16 << 20;
/// Weights that a thread takes at once.
const CHUNK: usize = 64 << 10;

/// What the streams of all tensors share.
pub struct Work<'a, 'j> {
    /// The job.
    pub plan: &'a Plan,
    /// The threads.
    pub team: &'a Team<'a>,
    /// The kernels.
    pub kernels: &'static Kernels,
    /// Where the bytes go.
    pub sink: &'a Mutex<Sink<'j>>,
    /// Told the number of weights done after each slab; `false` stops the job.
    pub progress: &'a mut dyn FnMut(&Planned, u64) -> bool,
    /// Blocks of the tensor at hand whose values were beyond the format's range.
    pub clamped: usize,
    /// Why a stream ended early.
    pub failure: Option<Failure>,
    /// Memory of the last slab, used again.
    pub slab: Vec<u8>,
}

/// Why a stream ends early.
pub enum Failure {
    /// Something is wrong.
    Error(Error),
    /// `progress` said so.
    Stopped,
}

/// The payload of `planned`.
pub struct Payloads<'w, 'a, 'j> {
    work: &'w mut Work<'a, 'j>,
    planned: &'w Planned,
    tensor: &'a SourceTensor,
    importance: Option<&'a [f32]>,
    /// Bytes of a row.
    width: usize,
    /// Zeros to give in place of rows that are written already.
    skipped: u64,
    next_row: usize,
    /// How much of the slab was given.
    given: usize,
}

impl<'w, 'a, 'j> Payloads<'w, 'a, 'j> {
    /// The stream of `planned`, a tensor of the plan.
    pub fn new(work: &'w mut Work<'a, 'j>, planned: &'w Planned) -> Self {
        let tensor = work.plan.source_of(planned);
        let width = (planned.bytes / tensor.rows() as u64) as usize;
        let there = lock(work.sink).there().saturating_sub(planned.start).min(planned.bytes);
        let next_row = (there / width as u64) as usize;
        let importance = work.plan.importance(&tensor.name).filter(|_| is_quantized(planned.dtype));
        work.slab.clear();
        work.clamped = 0;
        let skipped = next_row as u64 * width as u64;
        Self { work, planned, tensor, importance, width, skipped, next_row, given: 0 }
    }

    /// Converts the next rows into the slab, and writes what is ready meanwhile.
    fn next_slab(&mut self) -> std::result::Result<(), Failure> {
        let tensor = self.tensor;
        let cols = tensor.cols();
        let end = tensor.rows().min(self.next_row + (SLAB / cols).max(1));
        let chunks = chunks(tensor, self.next_row..end);
        hint(tensor, end..tensor.rows().min(end + (SLAB / cols).max(1)));
        let mut slab = std::mem::take(&mut self.work.slab);
        slab.resize((end - self.next_row) * self.width, 0);
        let ready = lock(self.work.sink).ready(false);
        let results: Mutex<Vec<Option<Result<usize>>>> = Mutex::new(chunks.iter().map(|_| None).collect());
        let outs = cut(&mut slab, &chunks, self.width);
        let written = Mutex::new(Ok(()));
        let (planned, importance, kernels, sink) = (self.planned, self.importance, self.work.kernels, self.work.sink);
        self.work.team.each(chunks.len() + 1, |i| match i.checked_sub(1) {
            None => *lock(&written) = lock(sink).commit(&ready),
            Some(i) => {
                let job = Chunk { tensor, rows: chunks[i].clone(), dtype: planned.dtype, importance };
                let result = job.convert(kernels, &mut lock(&outs[i]));
                lock(&results)[i] = Some(result);
            }
        });
        drop(outs);
        release(tensor, self.next_row..end);
        written.into_inner().unwrap_or_else(|e| e.into_inner()).map_err(Failure::Error)?;
        for result in results.into_inner().unwrap_or_else(|e| e.into_inner()).into_iter().flatten() {
            self.work.clamped += result.map_err(Failure::Error)?;
        }
        let weights = (end - self.next_row) * cols;
        self.work.slab = slab;
        (self.next_row, self.given) = (end, 0);
        if (self.work.progress)(planned, weights as u64) { Ok(()) } else { Err(Failure::Stopped) }
    }
}

impl Read for Payloads<'_, '_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.skipped > 0 {
            let n = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(out.len());
            out[..n].fill(0);
            self.skipped -= n as u64;
            return Ok(n);
        }
        if self.given == self.work.slab.len() && self.next_row < self.tensor.rows() {
            self.next_slab().map_err(|failure| {
                self.work.failure = Some(failure);
                io::Error::other("the reason is in the work")
            })?;
        }
        let rest = &self.work.slab[self.given..];
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.given += n;
        Ok(n)
    }
}

/// Cuts rows into stretches that lie in one piece and one matrix.
fn chunks(tensor: &SourceTensor, rows: Range<usize>) -> Vec<Range<usize>> {
    let most = (CHUNK / tensor.cols()).max(1);
    let together = tensor.rows_together();
    let (mut at, mut found) = (rows.start, Vec::new());
    while at < rows.end {
        let border = (at / together + 1) * together;
        let end = rows.end.min(border).min(at + most);
        found.push(at..end);
        at = end;
    }
    found
}

/// The slab as the room of each chunk.
fn cut<'s>(mut slab: &'s mut [u8], chunks: &[Range<usize>], width: usize) -> Vec<Mutex<&'s mut [u8]>> {
    let mut rooms = Vec::with_capacity(chunks.len());
    for rows in chunks {
        let (room, rest) = slab.split_at_mut(rows.len() * width);
        rooms.push(Mutex::new(room));
        slab = rest;
    }
    rooms
}

/// The rows as whole stretches of pieces.
fn stretches(tensor: &SourceTensor, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let per_piece = tensor.rows() / tensor.pieces.len();
    let mut at = rows.start;
    std::iter::from_fn(move || {
        let start = at;
        at = rows.end.min((start / per_piece + 1) * per_piece);
        (start < rows.end).then_some(start..at)
    })
}

fn hint(tensor: &SourceTensor, rows: Range<usize>) {
    stretches(tensor, rows).for_each(|part| tensor.payload(part).will_need());
}

fn release(tensor: &SourceTensor, rows: Range<usize>) {
    stretches(tensor, rows).for_each(|part| tensor.payload(part).release());
}

/// Rows of one matrix that one thread converts.
struct Chunk<'a> {
    tensor: &'a SourceTensor,
    rows: Range<usize>,
    dtype: DType,
    importance: Option<&'a [f32]>,
}

impl Chunk<'_> {
    /// Converts into `out`; gives the number of blocks that were beyond the format's range.
    fn convert(&self, kernels: &'static Kernels, out: &mut [u8]) -> Result<usize> {
        let (from, cols) = (self.tensor.dtype, self.tensor.cols());
        let payload = self.tensor.payload(self.rows.clone());
        let bytes = payload.bytes();
        if from == self.dtype {
            if !is_finite(from, bytes) {
                return Err(self.bad_among(&widened(from, bytes, self.rows.len() * cols)));
            }
            out.copy_from_slice(bytes);
            return Ok(0);
        }
        let floats: Vec<u8>;
        let values = match from {
            DType::F32 => Values::F32(bytes),
            DType::F16 => Values::F16(bytes),
            DType::BF16 => Values::BF16(bytes),
            _ => {
                let wide = widened(from, bytes, self.rows.len() * cols);
                floats = wide.iter().flat_map(|x| x.to_le_bytes()).collect();
                Values::F32(&floats)
            }
        };
        let matrix = self.rows.start / self.tensor.rows_per_matrix();
        let importance = self.importance.map(|all| &all[matrix * cols..(matrix + 1) * cols]);
        let rows = Rows { dtype: self.dtype, values, cols, importance };
        quantize_here(&rows, kernels, out).map(|done| done.clamped).map_err(|bad| self.bad(bad.index, bad.value))
    }

    fn bad_among(&self, values: &[f32]) -> Error {
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => self.bad(at, values[at]),
            None => Error::file(format!("{}: a block has a scale that is no number", self.tensor.described)),
        }
    }

    /// The error for a value of the chunk that is no number.
    fn bad(&self, index: usize, value: f32) -> Error {
        let (cols, rows) = (self.tensor.cols(), self.tensor.rows_per_matrix());
        let index = self.rows.start * cols + index;
        let (row, col) = (index / cols, index % cols);
        let place = match self.tensor.rows() / rows {
            1 => format!("row {row}, column {col}"),
            _ => format!("expert {}, row {}, column {col}", row / rows, row % rows),
        };
        Error::file(format!(
            "{}: value {index} ({place}) of {} is {value}; a model with such a weight computes nothing. Download it again",
            self.tensor.described, self.tensor.name
        ))
    }
}

fn widened(dtype: DType, bytes: &[u8], count: usize) -> Vec<f32> {
    let mut wide = vec![0.0; count];
    dequantize(dtype, bytes, &mut wide);
    wide
}

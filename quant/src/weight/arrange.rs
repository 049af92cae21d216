//! Arranges many weights for their kernels, into one buffer.
//!
//! One buffer, because only large ones get huge pages: most matrices of a small model are below 2 MiB, and pages of
//! 4 KiB, each met once per token, have to be looked up each time. A model of 0.6 billion weights in Q4_K_M generates 5 %
//! more tokens per second than without huge pages, with two threads.
//!
//! The buffer is reserved at once but becomes memory as it is filled, and a weight's source is released as soon as it
//! is packed, so there is never much more of both than one weight. A weight changes only at the end, all together.

use super::Weight;
use crate::buffer::{ALIGN, Aligned, Bytes};
use crate::kernels::PANEL;
use crate::panel;
use crate::threads::Team;
use std::ops::Range;
use std::sync::Arc;

/// Weights on their way from the file's rows to the layouts of their kernels.
pub struct Arranger<'a, 'w> {
    weights: &'a mut [&'w mut Weight],
    /// Where each weight's bytes go; none for those that stay as they are.
    places: Vec<Option<Range<usize>>>,
    own: Aligned,
    /// How many of them are packed.
    packed: usize,
}

impl<'a, 'w> Arranger<'a, 'w> {
    /// Reserves room for all of them.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(weights: &'a mut [&'w mut Weight]) -> Result<Self, String> {
        let mut end = 0usize;
        let mut place = |w: &Weight| {
            let cell = w.better_cell()?;
            let first = end.next_multiple_of(ALIGN);
            end = first + panel::layout_bytes(cell.layout, w.rows, w.row_bytes);
            Some(first..end)
        };
        let places = weights.iter().map(|w| place(w)).collect();
        let own = Aligned::zeroed(end)?;
        own.advise_huge();
        Ok(Self { weights, places, own, packed: 0 })
    }

    /// Packs the next weight, and releases where it came from.
    ///
    /// # Panics
    /// When all of them are packed.
    pub fn pack_next(&mut self, team: &Team<'_>) {
        let next = self.packed;
        self.packed += 1;
        let (w, Some(place)) = (&*self.weights[next], &self.places[next]) else { return };
        let panel_bytes = PANEL * w.row_bytes;
        team.rows(&mut self.own[place.clone()], panel_bytes, |i, out| {
            let end = w.bytes.len().min((i + 1) * panel_bytes);
            panel::pack_r16(w.dtype, &w.bytes[i * panel_bytes..end], w.cols, out);
        });
        w.bytes.release();
    }

    /// The weights are arranged. Returns the bytes copied.
    ///
    /// # Panics
    /// When one of them was not packed.
    pub fn finish(self) -> usize {
        assert_eq!(self.packed, self.weights.len(), "every weight is packed before it is used");
        let own = Arc::new(self.own);
        let mut copied = 0;
        for (w, place) in self.weights.iter_mut().zip(self.places) {
            let (Some(cell), Some(place)) = (w.better_cell(), place) else { continue };
            copied += place.len();
            w.bytes = Bytes::Part(own.clone(), place);
            w.cell = cell;
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::DType;
    use crate::{kernels, threads::Pool};

    #[test]
    fn weights_keep_their_rows() {
        let pool = Pool::new(2, &[]).unwrap();
        for table in kernels::available() {
            let weight = |dtype: DType, (rows, cols): (usize, usize), seed: usize| {
                let len = dtype.row_bytes(cols).unwrap() * rows;
                let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / 5 + seed) as u8 & 0x3f).collect();
                Weight::new(dtype, rows, cols, Bytes::mapped(Arc::new(bytes), 0..len).unwrap(), table).unwrap()
            };
            let make = || {
                [
                    weight(DType::Q4_K, (33, 256), 1),
                    weight(DType::F16, (5, 7), 2),
                    weight(DType::Q8_0, (17, 96), 3),
                    weight(DType::Q6_K, (16, 512), 4),
                ]
            };
            let (before, mut after) = (make(), make());
            let mut refs: Vec<&mut Weight> = after.iter_mut().collect();
            let mut arranger = Arranger::new(&mut refs).unwrap();
            pool.enter(2, |team| (0..before.len()).for_each(|_| arranger.pack_next(team)));
            let copied = arranger.finish();
            let moved = after.iter().filter(|w| matches!(w.bytes, Bytes::Part(..)));
            assert_eq!(copied, moved.map(Weight::size).sum(), "{table:?}");
            for (before, after) in before.iter().zip(&after) {
                let rows = |w: &Weight| {
                    let mut out = vec![0f32; w.rows * w.cols];
                    out.chunks_exact_mut(w.cols).enumerate().for_each(|(i, row)| w.row(i, row));
                    out
                };
                assert_eq!(rows(before), rows(after), "{table:?} {:?}", before.dtype);
            }
        }
    }

    #[test]
    #[should_panic(expected = "every weight is packed")]
    fn nothing_is_forgotten() {
        let bytes = Bytes::mapped(Arc::new(vec![0u8; 34]), 0..34).unwrap();
        let mut weight = Weight::new(DType::Q8_0, 1, 32, bytes, kernels::best()).unwrap();
        let mut refs = [&mut weight];
        Arranger::new(&mut refs).unwrap().finish();
    }
}

//! Whether the matrix unit multiplies: a small matrix of small whole numbers, whose products are exact in bfloat16 and
//! f32, so that every bit must be right. It takes part of a millisecond.

use crate::acts::{ActRow, Codes};
use crate::formats::DType;
use crate::kernels::{PANEL, Tile, TileFn};
use crate::panel;

/// Two panels and a part of a third; two blocks of K; two blocks of activation rows and a part of a third.
const ROWS: usize = 40;
const COLS: usize = 17 * 32;
const N: usize = 35;

/// Numbers repeat in rows and columns, so that few products are to be computed.
const PERIODS: (usize, usize) = (7, 5);

fn weight(row: usize, k: usize) -> i8 {
    ((3 * row + k) % PERIODS.0) as i8 - 3
}

fn act(row: usize, k: usize) -> i8 {
    ((row + k) % PERIODS.1) as i8 - 2
}

/// The weights as panels of Q8_0, all scales 1.
fn panels() -> Vec<u8> {
    let row_bytes = COLS / 32 * 34;
    let mut file = Vec::with_capacity(ROWS * row_bytes);
    for row in 0..ROWS {
        for block in 0..COLS / 32 {
            file.extend(half::f16::ONE.to_le_bytes());
            file.extend((0..32).map(|i| weight(row, 32 * block + i) as u8));
        }
    }
    let mut panels = vec![0; ROWS.next_multiple_of(PANEL) * row_bytes];
    for (src, panel) in file.chunks(PANEL * row_bytes).zip(panels.chunks_exact_mut(PANEL * row_bytes)) {
        panel::pack_r16(DType::Q8_0, src, COLS, panel);
    }
    panels
}

/// Whether the tile of Q8_0 gives what plain arithmetic gives.
///
/// # Safety
/// The machine can run the tile.
pub(super) unsafe fn multiplies(tile: TileFn) -> bool {
    #[repr(C, align(64))]
    struct Row([u8; 2 * COLS]);
    let mut rows: Vec<Row> = (0..N).map(|_| Row([0; 2 * COLS])).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        for (k, value) in row.0.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *value = half::bf16::from_f32(f32::from(act(i, k))).to_le_bytes();
        }
    }
    let q8 = Codes { codes: &[], scales: &[], dsums: &[], halves: &[], sums: &[] };
    let q16 = Codes { codes: &[], scales: &[], dsums: &[], halves: &[], sums: &[] };
    let acts: Vec<ActRow<'_>> = rows.iter().map(|row| ActRow { x: &[], q8, q16, rest: q8, bf16: &row.0 }).collect();
    let mut found = vec![f32::NAN; N * ROWS];
    let out: Vec<*mut f32> = found.chunks_exact_mut(ROWS).map(<[f32]>::as_mut_ptr).collect();
    let weights = panels();
    // SAFETY: the panels are whole, each row of `out` has room for all weight rows, and the activations are bf16.
    unsafe { tile(&Tile { dtype: DType::Q8_0, weights: &weights, rows: ROWS, cols: COLS, acts: &acts, out: &out }) };
    let product =
        |(row, i): (usize, usize)| -> i32 { (0..COLS).map(|k| i32::from(weight(row, k)) * i32::from(act(i, k))).sum() };
    let exact: Vec<i32> = (0..PERIODS.0 * PERIODS.1).map(|at| product((at / PERIODS.1, at % PERIODS.1))).collect();
    let expected = |at: usize| exact[at % ROWS % PERIODS.0 * PERIODS.1 + at / ROWS % PERIODS.1] as f32;
    found.iter().enumerate().all(|(at, value)| *value == expected(at))
}

//! The tile registers of one thread, and what instructions do to them.
//!
//! Invariant: bytes of a tile outside its configured lines and columns are zero.

/// Tile registers of palette 1, and the most lines and bytes per line of each.
const TILES: usize = 8;
const LINES: usize = 16;
const BYTES: usize = 64;

/// Why the processor would not have done an instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault(pub &'static str);

type Done = Result<(), Fault>;

/// One register: so many lines of so many bytes.
#[derive(Clone, Copy)]
struct Register {
    lines: usize,
    bytes: usize,
    data: [[u8; BYTES]; LINES],
}

/// The unit.
pub(super) struct Unit {
    configured: bool,
    tiles: [Register; TILES],
}

fn check(fine: bool, otherwise: &'static str) -> Done {
    if fine { Ok(()) } else { Err(Fault(otherwise)) }
}

impl Unit {
    /// As after tilerelease.
    pub const RELEASED: Self =
        Self { configured: false, tiles: [Register { lines: 0, bytes: 0, data: [[0; BYTES]; LINES] }; TILES] };

    /// ldtilecfg.
    pub fn configure(&mut self, config: &[u8; 64]) -> Done {
        let (palette, start_row) = (config[0], config[1]);
        check(palette <= 1, "ldtilecfg: no such palette")?;
        if palette == 0 {
            *self = Self::RELEASED;
            return Ok(());
        }
        check(start_row == 0, "ldtilecfg: a start row is not emulated")?;
        let reserved = [2..16, 32..48, 56..64];
        let clear = reserved.into_iter().all(|part| config[part].iter().all(|&b| b == 0));
        check(clear, "ldtilecfg: a reserved byte is not zero")?;
        let mut next = Self::RELEASED;
        next.configured = true;
        for (i, tile) in next.tiles.iter_mut().enumerate() {
            tile.bytes = usize::from(u16::from_le_bytes([config[16 + 2 * i], config[17 + 2 * i]]));
            tile.lines = usize::from(config[48 + i]);
            check(tile.bytes <= BYTES && tile.lines <= LINES, "ldtilecfg: a tile is too large")?;
            check((tile.bytes == 0) == (tile.lines == 0), "ldtilecfg: a tile has lines or bytes only")?;
        }
        *self = next;
        Ok(())
    }

    /// The register, if it may be used.
    fn tile(&mut self, tile: u8) -> Result<&mut Register, Fault> {
        check(self.configured, "no tiles are configured")?;
        let tile = &mut self.tiles[usize::from(tile)];
        check(tile.lines > 0, "a tile is used that has no lines")?;
        Ok(tile)
    }

    /// tilezero.
    pub fn zero(&mut self, tile: u8) -> Done {
        self.tile(tile)?.data = [[0; BYTES]; LINES];
        Ok(())
    }

    /// tileloadd, tileloaddt1.
    ///
    /// # Safety
    /// Each line of the tile is readable.
    pub unsafe fn load(&mut self, tile: u8, at: *const u8, stride: usize) -> Done {
        let tile = self.tile(tile)?;
        tile.data = [[0; BYTES]; LINES];
        for (i, line) in tile.data.iter_mut().take(tile.lines).enumerate() {
            // SAFETY: by the caller; a line has room for all its bytes.
            unsafe { at.wrapping_add(i.wrapping_mul(stride)).copy_to_nonoverlapping(line.as_mut_ptr(), tile.bytes) };
        }
        Ok(())
    }

    /// tilestored.
    ///
    /// # Safety
    /// Each line of the tile is writable.
    pub unsafe fn store(&mut self, tile: u8, at: *mut u8, stride: usize) -> Done {
        let tile = self.tile(tile)?;
        for (i, line) in tile.data.iter().take(tile.lines).enumerate() {
            // SAFETY: by the caller.
            unsafe { at.wrapping_add(i.wrapping_mul(stride)).copy_from_nonoverlapping(line.as_ptr(), tile.bytes) };
        }
        Ok(())
    }

    /// tdpbf16ps: `sum += a * b`, pairs of bf16 to f32. Products of the even elements of all pairs are summed apart from
    /// those of the odd ones, from zero on, and both sums together are added.
    pub fn multiply_bf16(&mut self, sum: u8, a: u8, b: u8) -> Done {
        check(sum != a && sum != b && a != b, "tdpbf16ps: a tile is named twice")?;
        let (left, right) = (*self.tile(a)?, *self.tile(b)?);
        let to = self.tile(sum)?;
        let pairs = left.bytes / 4;
        check(to.bytes % 4 == 0 && left.bytes % 4 == 0 && right.bytes % 4 == 0, "tdpbf16ps: a line has half a pair")?;
        check(to.lines == left.lines, "tdpbf16ps: sums have not as many lines as the first tile")?;
        check(to.bytes == right.bytes, "tdpbf16ps: sums have not as many columns as the second tile")?;
        check(pairs == right.lines, "tdpbf16ps: the first tile has not as many pairs as the second has lines")?;
        if std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the machine has it.
            unsafe { fused(to, &left, &right) };
        } else {
            products(to, &left, &right);
        }
        Ok(())
    }
}

/// [`products`] with instructions for fused operations, which are functions of the C library without them.
#[target_feature(enable = "avx2,fma")]
fn fused(to: &mut Register, a: &Register, b: &Register) {
    products(to, a, b);
}

#[inline(always)]
fn products(to: &mut Register, a: &Register, b: &Register) {
    const COLUMNS: usize = BYTES / 4;
    let columns = b.data.map(|line| {
        let pairs = line.as_chunks::<4>().0;
        let part = |at: usize| -> [f32; COLUMNS] { std::array::from_fn(|c| bf16(pairs[c][at], pairs[c][at + 1])) };
        [part(0), part(2)]
    });
    for (line, to) in a.data.iter().zip(&mut to.data).take(a.lines) {
        let mut sums = [[0f32; COLUMNS]; 2];
        for (pair, columns) in line.as_chunks::<4>().0.iter().zip(&columns).take(b.lines) {
            let values = [bf16(pair[0], pair[1]), bf16(pair[2], pair[3])];
            for ((sums, value), column) in sums.iter_mut().zip(values).zip(columns) {
                for (sum, weight) in sums.iter_mut().zip(column) {
                    *sum = flushed(value.mul_add(*weight, *sum));
                }
            }
        }
        for (c, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate().take(b.bytes / 4) {
            let both = flushed(sums[0][c] + sums[1][c]);
            *to = flushed(flushed(f32::from_le_bytes(*to)) + both).to_le_bytes();
        }
    }
}

/// A bf16 as f32.
#[inline(always)]
fn bf16(low: u8, high: u8) -> f32 {
    flushed(f32::from_le_bytes([0, 0, low, high]))
}

/// Denormal numbers are zero, as inputs and as results.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

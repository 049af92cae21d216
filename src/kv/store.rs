//! The keys and values themselves: per layer `[page][kv head][slot][head_dim]`, in the chosen types.

use crate::error::{Error, Result};
use lapwing_quant::attend::{Heads, KvType, PAGE, Plane, PlaneMut};
use lapwing_quant::buffer::Aligned;

/// What is stored.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Heads of the model.
    pub heads: Heads,
    /// Type of the keys.
    pub keys: KvType,
    /// Type of the values.
    pub values: KvType,
}

impl Shape {
    /// Bytes of one token in one layer, keys and values.
    pub fn token_bytes(&self) -> usize {
        let row = |t: KvType| t.row_bytes(self.heads.head_dim);
        self.heads.n_kv_heads * (row(self.keys) + row(self.values))
    }
}

/// All layers' keys and values.
pub struct Store {
    shape: Shape,
    layers: Vec<(Aligned, Aligned)>,
}

impl Store {
    /// Reserves room for `pages` pages in each of `layers` layers.
    ///
    /// # Errors
    /// When there is no such memory, or q8_0 does not fit the head size.
    pub fn new(pages: usize, layers: usize, shape: Shape) -> Result<Self> {
        let d = shape.heads.head_dim;
        if (shape.keys == KvType::Q8_0 || shape.values == KvType::Q8_0) && !d.is_multiple_of(32) {
            return Err(Error::usage(format!("a q8_0 cache needs heads of a multiple of 32 values, not {d}; use f16")));
        }
        let plane = |t: KvType| {
            let bytes = pages.checked_mul(shape.heads.n_kv_heads * PAGE * t.row_bytes(d));
            let too_much = || Error::limit(format!("a cache of {pages} pages does not fit into memory"));
            Aligned::zeroed(bytes.ok_or_else(too_much)?).map_err(|e| too_much().context(e))
        };
        let layers = (0..layers).map(|_| Ok((plane(shape.keys)?, plane(shape.values)?))).collect::<Result<_>>()?;
        Ok(Self { shape, layers })
    }

    /// What is stored.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Keys and values of a layer.
    pub fn layer(&self, layer: usize) -> (Plane<'_>, Plane<'_>) {
        let (k, v) = &self.layers[layer];
        (Plane { bytes: k, dtype: self.shape.keys }, Plane { bytes: v, dtype: self.shape.values })
    }

    /// Keys and values of a layer, to be written.
    pub fn layer_mut(&mut self, layer: usize) -> (PlaneMut<'_>, PlaneMut<'_>) {
        let (k, v) = &mut self.layers[layer];
        (PlaneMut { bytes: k, dtype: self.shape.keys }, PlaneMut { bytes: v, dtype: self.shape.values })
    }

    /// Copies a page in every layer.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let page = |t: KvType| self.shape.heads.n_kv_heads * PAGE * t.row_bytes(self.shape.heads.head_dim);
        let (kb, vb) = (page(self.shape.keys), page(self.shape.values));
        let copy = |plane: &mut [u8], bytes: usize| {
            plane.copy_within(from as usize * bytes..(from as usize + 1) * bytes, to as usize * bytes);
        };
        for (k, v) in &mut self.layers {
            copy(k, kb);
            copy(v, vb);
        }
    }
}

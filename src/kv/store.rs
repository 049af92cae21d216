//! The keys and values themselves: `[page][layer][kv head][slot][head_dim]`, in the chosen types.
//!
//! What all layers keep of a page is one piece of some megabytes, so that huge pages of memory can stand behind it and
//! a short conversation still touches little more than it fills.

use crate::error::{Error, Result};
use lapwing_quant::attend::{Heads, KvType, Places, Plane, PlaneMut};
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
    layers: usize,
    keys: Aligned,
    values: Aligned,
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
            let bytes = pages.checked_mul(layers).and_then(|n| n.checked_mul(shape.heads.page_bytes(t)));
            let too_much = || Error::limit(format!("a cache of {pages} pages does not fit into memory"));
            let memory = Aligned::zeroed(bytes.ok_or_else(too_much)?).map_err(|e| too_much().context(e))?;
            memory.advise_huge();
            Ok(memory)
        };
        Ok(Self { shape, layers, keys: plane(shape.keys)?, values: plane(shape.values)? })
    }

    /// What is stored.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Where a layer's pages of a type are.
    fn places(&self, dtype: KvType, layer: usize) -> Places {
        let one = self.shape.heads.page_bytes(dtype);
        Places { first: layer * one, step: self.layers * one }
    }

    /// Keys and values of a layer.
    pub fn layer(&self, layer: usize) -> (Plane<'_>, Plane<'_>) {
        let plane = |bytes, dtype| Plane { bytes, dtype, places: self.places(dtype, layer) };
        (plane(&self.keys, self.shape.keys), plane(&self.values, self.shape.values))
    }

    /// Keys and values of a layer, to be written.
    pub fn layer_mut(&mut self, layer: usize) -> (PlaneMut<'_>, PlaneMut<'_>) {
        let Shape { keys, values, .. } = self.shape;
        let places = (self.places(keys, layer), self.places(values, layer));
        (
            PlaneMut { bytes: &mut self.keys, dtype: keys, places: places.0 },
            PlaneMut { bytes: &mut self.values, dtype: values, places: places.1 },
        )
    }

    /// Copies a page in every layer.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        let Shape { heads, keys, values } = self.shape;
        for (memory, dtype) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let bytes = self.layers * heads.page_bytes(dtype);
            memory.copy_within(from as usize * bytes..(from as usize + 1) * bytes, to as usize * bytes);
        }
    }
}

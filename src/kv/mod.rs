//! The cache of keys and values: pages of positions, shared by prefix, outside the model.
//!
//! [`pages`] knows ids, references and prefix hashes but no floats; [`store`] has the floats; [`sequence`] is one
//! conversation's tokens and page table. A page is either free, or referenced, or cached (unreferenced, but findable by
//! the hash of the tokens up to its end); never two of these. [`snapshot`] turns a sequence into bytes and back.

pub mod pages;
pub mod sequence;
pub mod snapshot;
pub mod store;

pub use pages::Pages;
pub use sequence::Sequence;
pub use store::Store;

use crate::error::Result;

/// Pages and their content.
pub struct Kv {
    /// Bookkeeping.
    pub pages: Pages,
    /// Content.
    pub store: Store,
}

impl Kv {
    /// A cache of `pages` pages; memory is reserved, and touched only when a page is used.
    ///
    /// # Errors
    /// When the system has no room, or the head size does not fit the type.
    pub fn new(pages: usize, layers: usize, shape: store::Shape) -> Result<Self> {
        Ok(Self { pages: Pages::new(pages), store: Store::new(pages, layers, shape)? })
    }

    /// Makes room for `tokens` more tokens in `seq`, copying a shared last page before it is written.
    ///
    /// # Errors
    /// When there are not enough pages; nothing changes then.
    pub fn reserve(&mut self, seq: &mut Sequence, tokens: usize) -> Result<()> {
        if let Some((from, to)) = seq.reserve(&mut self.pages, tokens)? {
            self.store.copy_page(from, to);
        }
        Ok(())
    }
}

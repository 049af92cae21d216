//! Memory for weights and caches: bytes that are either a shared view of a file's map or an own, aligned buffer.
//!
//! Own buffers come zeroed from the allocator, so that large ones are reserved but not touched until they are used.
//! Huge pages need large buffers: what is small and read often lies in one together.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

pub(crate) const ALIGN: usize = 64;
/// Own buffers of at least this size ask for huge pages.
const HUGE: usize = 2 << 20;

/// Zeroed bytes aligned to a cache line (to 2 MiB when large).
pub struct Aligned {
    base: NonNull<u8>,
    layout: Layout,
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the buffer is owned, plain memory.
unsafe impl Send for Aligned {}
// SAFETY: shared access is read-only through `Deref`.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// `len` zero bytes, not touched yet.
    ///
    /// # Errors
    /// When the system has no such memory.
    pub fn zeroed(len: usize) -> Result<Self, String> {
        let align = if len >= HUGE { HUGE } else { ALIGN };
        let err = || format!("cannot reserve {len} bytes of memory");
        // Aligned by hand: an allocator asked for zeroes *and* a large alignment writes the zeroes itself.
        let layout = len.checked_add(align).and_then(|n| Layout::from_size_align(n, 16).ok()).ok_or_else(err)?;
        // SAFETY: the layout has a size of at least one byte.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(err)?;
        // SAFETY: the offset is below `align`, and `len + align` bytes were allocated.
        let ptr = unsafe { base.add(base.as_ptr().align_offset(align)) };
        Ok(Self { base, layout, ptr, len })
    }

    /// Asks for huge pages behind the buffer, where the system knows them.
    pub fn advise_huge(&self) {
        #[cfg(target_os = "linux")]
        if self.len >= HUGE {
            // SAFETY: the range is this buffer's own; the advice changes no content.
            unsafe { libc::madvise(self.ptr.as_ptr().cast(), self.len, libc::MADV_HUGEPAGE) };
        }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialized (zeroed) bytes are owned by self.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

/// Who keeps mapped bytes alive.
pub trait Source: Send + Sync {
    /// All bytes.
    fn bytes(&self) -> &[u8];
    /// Nobody will read this range soon: the memory behind it may be given back, as long as reading it again works.
    fn release(&self, _range: Range<usize>) {}
}

impl Source for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A shared [`Source`].
pub type Owner = Arc<dyn Source>;

/// A tensor's bytes: a part of somebody's map, or an own buffer.
#[derive(Clone)]
pub enum Bytes {
    /// A range of the owner's bytes.
    Mapped(Owner, Range<usize>),
    /// An own copy.
    Own(Arc<Aligned>),
    /// A part of an own copy, as a repacked tensor is.
    Part(Arc<Aligned>, Range<usize>),
}

impl Bytes {
    /// A view of a part of the owner's bytes; `None` when the range is outside.
    pub fn mapped(owner: Owner, range: Range<usize>) -> Option<Self> {
        owner.bytes().get(range.clone())?;
        Some(Self::Mapped(owner, range))
    }

    /// Tells the owner that these bytes will not be read soon.
    pub fn release(&self) {
        if let Self::Mapped(owner, range) = self {
            owner.release(range.clone());
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(owner, range) => &owner.bytes()[range.clone()],
            Self::Own(own) => own,
            Self::Part(own, range) => &own[range.clone()],
        }
    }
}

/// Scratch of f32 that begins at a cache line and only grows.
#[derive(Default)]
pub(crate) struct Floats(Vec<Line>);

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Floats {
    /// `n` values of any content.
    pub(crate) fn take(&mut self, n: usize) -> &mut [f32] {
        if self.0.len() < n.div_ceil(16) {
            self.0.resize(n.div_ceil(16), Line([0.0; 16]));
        }
        // SAFETY: a line is sixteen floats without padding, and there are at least n / 16 of them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), n) }
    }
}

/// The memory of floats.
pub(crate) fn bytes_of(floats: &[f32]) -> &[u8] {
    // SAFETY: floats have no padding, and any bytes may be read as u8.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_buffers_are_zeroed_and_aligned() {
        for len in [0, 1, 63, 4096, HUGE + 5] {
            let b = Aligned::zeroed(len).unwrap();
            b.advise_huge();
            assert_eq!(b.len(), len);
            assert_eq!(b.as_ptr() as usize % ALIGN, 0);
            assert!(b.iter().all(|&x| x == 0));
        }
        assert!(Aligned::zeroed(usize::MAX / 2).is_err());
    }

    #[test]
    fn scratch_grows_and_stays_aligned() {
        let mut floats = Floats::default();
        for n in [1, 16, 1000, 17] {
            let taken = floats.take(n);
            assert_eq!((taken.len(), taken.as_ptr() as usize % 64), (n, 0));
            taken.fill(n as f32);
        }
        assert_eq!(floats.take(1000)[17], 1000.0);
    }

    #[test]
    fn mapped_bytes_stay_inside_their_owner() {
        let owner: Owner = Arc::new(vec![1u8, 2, 3, 4]);
        assert_eq!(&*Bytes::mapped(owner.clone(), 1..3).unwrap(), &[2, 3]);
        assert!(Bytes::mapped(owner, 2..5).is_none());
    }
}

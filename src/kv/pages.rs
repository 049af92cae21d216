//! Bookkeeping of pages: ids, reference counts, prefix hashes, least-recently-used reuse. No floats here.
//!
//! Invariants: `refs[p] > 0` exactly for pages in some sequence's table; a page with `refs == 0` is in exactly one of
//! `free` and `cached`; `by_hash` names only published pages, and each at most once.

use lapwing_quant::attend::PAGE;
use std::collections::{HashMap, VecDeque};

/// Hash of all tokens up to the end of a full page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixHash(u128);

impl PrefixHash {
    /// The hash before the first page.
    pub const ROOT: Self = Self(0x006c_6170_7769_6e67);

    /// The hash after one more page of tokens. 128 bits of two multiply-xor lanes: not against forgery, but no
    /// accident will ever meet; and a match is only used after its tokens were compared.
    #[must_use]
    pub fn then(self, tokens: &[u32]) -> Self {
        let (mut a, mut b) = (self.0 as u64, (self.0 >> 64) as u64);
        for &t in tokens {
            a = (a ^ u64::from(t)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            b = (b.wrapping_add(u64::from(t))).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (b >> 31);
        }
        Self(u128::from(a) | u128::from(b) << 64)
    }
}

/// A published page: what it holds, and after what.
struct Published {
    hash: PrefixHash,
    parent: PrefixHash,
    tokens: Box<[u32]>,
}

/// The pool of pages.
pub struct Pages {
    refs: Vec<u32>,
    free: Vec<u32>,
    /// Unreferenced but findable pages, least recently used first.
    cached: VecDeque<u32>,
    published: Vec<Option<Published>>,
    by_hash: HashMap<PrefixHash, u32>,
}

impl Pages {
    /// `n` free pages.
    pub fn new(n: usize) -> Self {
        let n32 = u32::try_from(n).expect("page count fits 32 bits");
        Self {
            refs: vec![0; n],
            free: (0..n32).rev().collect(),
            cached: VecDeque::new(),
            published: (0..n).map(|_| None).collect(),
            by_hash: HashMap::new(),
        }
    }

    /// Pages in all.
    pub fn total(&self) -> usize {
        self.refs.len()
    }

    /// Pages that [`Pages::alloc`] can still give out.
    pub fn available(&self) -> usize {
        self.free.len() + self.cached.len()
    }

    /// How many tables hold the page.
    pub fn refs(&self, page: u32) -> u32 {
        self.refs[page as usize]
    }

    /// A page of unknown content with one reference; forgets the least recently used cached page if none is free.
    pub fn alloc(&mut self) -> Option<u32> {
        let page = match self.free.pop() {
            Some(p) => p,
            None => {
                let p = self.cached.pop_front()?;
                self.forget(p);
                p
            }
        };
        self.refs[page as usize] = 1;
        Some(page)
    }

    /// One more reference to a page that has some.
    pub fn retain(&mut self, page: u32) {
        let refs = &mut self.refs[page as usize];
        assert!(*refs > 0, "page {page} is not in use");
        *refs += 1;
    }

    /// One reference less; the last one makes the page cached (if published) or free.
    pub fn release(&mut self, page: u32) {
        let refs = &mut self.refs[page as usize];
        assert!(*refs > 0, "page {page} is not in use");
        *refs -= 1;
        if *refs == 0 {
            if self.published[page as usize].is_some() {
                self.cached.push_back(page);
            } else {
                self.free.push(page);
            }
        }
    }

    /// Makes a full page findable: it holds `tokens` after everything that `parent` stands for.
    pub fn publish(&mut self, page: u32, parent: PrefixHash, tokens: &[u32]) {
        debug_assert_eq!(tokens.len(), PAGE);
        let hash = parent.then(tokens);
        if self.by_hash.contains_key(&hash) || self.published[page as usize].is_some() {
            return;
        }
        self.by_hash.insert(hash, page);
        self.published[page as usize] = Some(Published { hash, parent, tokens: tokens.into() });
    }

    /// The page that holds `tokens` after `parent`, with one more reference.
    pub fn find(&mut self, parent: PrefixHash, tokens: &[u32]) -> Option<u32> {
        let page = *self.by_hash.get(&parent.then(tokens))?;
        let published = self.published[page as usize].as_ref()?;
        if published.parent != parent || *published.tokens != *tokens {
            return None;
        }
        if self.refs[page as usize] == 0 {
            self.cached.retain(|&p| p != page);
        }
        self.refs[page as usize] += 1;
        Some(page)
    }

    fn forget(&mut self, page: u32) {
        if let Some(p) = self.published[page as usize].take() {
            self.by_hash.remove(&p.hash);
        }
    }

    /// Forgets that a page is findable, because it is about to be written.
    pub fn unpublish(&mut self, page: u32) {
        assert!(self.refs[page as usize] > 0, "page {page} is not in use");
        self.forget(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is done, no page is both free and referenced, and none is lost.
    #[test]
    fn every_page_is_in_exactly_one_state() {
        let mut pages = Pages::new(5);
        let mut held: Vec<u32> = Vec::new();
        let mut seed = 3u32;
        for step in 0..5000u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let pick = (seed >> 16) as usize;
            let tokens = [seed >> 24 & 7; PAGE];
            match pick % 5 {
                0 | 1 => held.extend(pages.alloc()),
                2 if !held.is_empty() => pages.release(held.swap_remove(pick / 5 % held.len())),
                3 if !held.is_empty() => pages.publish(held[pick / 5 % held.len()], PrefixHash::ROOT, &tokens),
                _ => held.extend(pages.find(PrefixHash::ROOT, &tokens)),
            }
            for p in 0..5u32 {
                let uses = held.iter().filter(|&&h| h == p).count();
                let idle = pages.free.contains(&p) as usize + pages.cached.contains(&p) as usize;
                assert_eq!(pages.refs(p) as usize, uses, "step {step}");
                assert_eq!(idle, usize::from(uses == 0), "step {step}");
            }
            for (hash, &page) in &pages.by_hash {
                assert_eq!(pages.published[page as usize].as_ref().map(|p| p.hash), Some(*hash));
            }
        }
    }
}

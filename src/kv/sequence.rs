//! One sequence: its tokens and the pages that hold their keys and values.
//!
//! Invariant: `pages.len() == ceil(capacity / PAGE)` with capacity at least `tokens.len()`; pages before the last one
//! that is written may be shared with other sequences and are never written again.

use super::pages::{Pages, PrefixHash};
use crate::error::{Error, Result};
use lapwing_quant::attend::PAGE;

/// Tokens in the cache and where they are.
#[derive(Default)]
pub struct Sequence {
    tokens: Vec<u32>,
    pages: Vec<u32>,
    /// Hash after each full page that was published or found.
    hashes: Vec<PrefixHash>,
}

impl Sequence {
    /// The tokens whose keys and values are in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many there are: the position of the next token.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The page table.
    pub fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// Starts from whatever full pages of `tokens` are in the cache; never all of them, so that at least one token is
    /// left to read. Returns how many tokens were found. Only for an empty sequence.
    pub fn adopt(&mut self, pages: &mut Pages, tokens: &[u32]) -> usize {
        assert!(self.pages.is_empty(), "adopt starts a sequence");
        let mut hash = PrefixHash::ROOT;
        for chunk in tokens[..tokens.len().saturating_sub(1)].chunks_exact(PAGE) {
            let Some(page) = pages.find(hash, chunk) else { break };
            hash = hash.then(chunk);
            self.pages.push(page);
            self.hashes.push(hash);
            self.tokens.extend(chunk);
        }
        self.tokens.len()
    }

    /// Makes room for `n` more tokens. When the last page is shared, it is replaced by an own one, and the caller must
    /// copy the content: `(from, to)`.
    pub(super) fn reserve(&mut self, pages: &mut Pages, n: usize) -> Result<Option<(u32, u32)>> {
        let at = self.tokens.len();
        let needed = (at + n).div_ceil(PAGE);
        let own = at / PAGE;
        let shared = !at.is_multiple_of(PAGE) && pages.refs(self.pages[own]) > 1;
        let more = needed.saturating_sub(self.pages.len()) + usize::from(shared);
        if more > pages.available() {
            return Err(Error::limit(format!(
                "the cache is full: {more} pages of {PAGE} tokens are needed, {} of {} are free; use a larger context",
                pages.available(),
                pages.total()
            )));
        }
        let mut copy = None;
        if shared {
            let to = pages.alloc().ok_or_else(|| Error::limit("the cache is full"))?;
            copy = Some((self.pages[own], to));
            pages.release(self.pages[own]);
            self.pages[own] = to;
        } else if !at.is_multiple_of(PAGE) {
            pages.unpublish(self.pages[own]);
        }
        while self.pages.len() < needed {
            self.pages.push(pages.alloc().ok_or_else(|| Error::limit("the cache is full"))?);
        }
        Ok(copy)
    }

    /// Records that `tokens` were written, and makes full pages findable.
    pub fn commit(&mut self, pages: &mut Pages, tokens: &[u32]) {
        self.tokens.extend(tokens);
        assert!(self.pages.len() * PAGE >= self.tokens.len(), "tokens were committed without room");
        while (self.hashes.len() + 1) * PAGE <= self.tokens.len() {
            let i = self.hashes.len();
            let parent = self.hashes.last().copied().unwrap_or(PrefixHash::ROOT);
            let chunk = &self.tokens[i * PAGE..(i + 1) * PAGE];
            pages.publish(self.pages[i], parent, chunk);
            self.hashes.push(parent.then(chunk));
        }
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, pages: &mut Pages, len: usize) {
        self.tokens.truncate(len);
        self.hashes.truncate(self.tokens.len() / PAGE);
        for page in self.pages.drain(self.tokens.len().div_ceil(PAGE)..) {
            pages.release(page);
        }
    }

    /// A second sequence with the same past; pages are shared until one of the two writes.
    #[must_use]
    pub fn fork(&self, pages: &mut Pages) -> Self {
        let used = self.tokens.len().div_ceil(PAGE);
        self.pages[..used].iter().for_each(|&p| pages.retain(p));
        Self { tokens: self.tokens.clone(), pages: self.pages[..used].to_vec(), hashes: self.hashes.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_shares_pages_until_one_side_writes() {
        let mut pages = Pages::new(8);
        let mut a = Sequence::default();
        a.reserve(&mut pages, 100).unwrap();
        a.commit(&mut pages, &(0..100).collect::<Vec<_>>());
        let mut b = a.fork(&mut pages);
        assert_eq!(a.pages(), b.pages());
        let copied = b.reserve(&mut pages, 1).unwrap();
        assert_eq!(copied, Some((a.pages()[1], b.pages()[1])));
        assert_eq!(a.pages()[0], b.pages()[0]);
        assert_eq!(a.reserve(&mut pages, 1).unwrap(), None, "the other side is the only owner now");
        a.truncate(&mut pages, 0);
        b.truncate(&mut pages, 0);
        assert_eq!(pages.available(), 8);
    }

    #[test]
    fn full_pages_are_found_again_but_never_the_whole_prompt() {
        let mut pages = Pages::new(8);
        let tokens: Vec<u32> = (0..128).collect();
        let mut a = Sequence::default();
        a.reserve(&mut pages, 128).unwrap();
        a.commit(&mut pages, &tokens);
        let first = a.pages().to_vec();
        a.truncate(&mut pages, 0);
        let mut b = Sequence::default();
        assert_eq!(b.adopt(&mut pages, &tokens), 64);
        assert_eq!(b.pages()[0], first[0]);
        let mut c = Sequence::default();
        assert_eq!(c.adopt(&mut pages, &[1; 200]), 0);
    }

    #[test]
    fn truncated_into_a_published_page_it_is_written_only_when_nobody_else_finds_it() {
        let mut pages = Pages::new(4);
        let tokens: Vec<u32> = (0..64).collect();
        let mut a = Sequence::default();
        a.reserve(&mut pages, 64).unwrap();
        a.commit(&mut pages, &tokens);
        a.truncate(&mut pages, 10);
        a.reserve(&mut pages, 5).unwrap();
        let mut longer = tokens.clone();
        longer.push(1);
        assert_eq!(Sequence::default().adopt(&mut pages, &longer), 0, "the page is being overwritten");
    }

    #[test]
    fn a_full_cache_is_an_error_that_changes_nothing() {
        let mut pages = Pages::new(2);
        let mut a = Sequence::default();
        let e = a.reserve(&mut pages, 129).unwrap_err();
        assert!(e.to_string().contains("3 pages"), "{e}");
        assert_eq!(pages.available(), 2);
    }
}

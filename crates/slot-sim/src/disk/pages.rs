//! A file's bytes in shared pages.
//!
//! What always holds: a clone shares every page until one side writes to it; a page never written is no page and reads as
//! zeros; bytes of the last page past the end are zeros.

use std::sync::Arc;

/// Bytes in a page, as a page cache has them.
pub(super) const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

/// A file's bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Pages {
    length: usize,
    pages: Vec<Option<Page>>,
}

impl Pages {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut pages = Self::default();
        pages.set_length(bytes.len());
        for (number, chunk) in bytes.chunks(PAGE).enumerate() {
            if chunk.iter().any(|byte| *byte != 0) {
                pages.write(number * PAGE, chunk);
            }
        }
        pages
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.read(0, &mut bytes);
        bytes
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// Fills `out` from an offset; false, and nothing done, when that is not all within the file.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        if offset.checked_add(out.len()).is_none_or(|end| end > self.length) {
            return false;
        }
        let mut done = 0;
        while done < out.len() {
            let (number, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - within).min(out.len() - done);
            let part = &mut out[done..done + count];
            match &self.pages[number] {
                Some(page) => part.copy_from_slice(&page[within..within + count]),
                None => part.fill(0),
            }
            done += count;
        }
        true
    }

    /// Writes bytes at an offset; the file grows as needed.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if self.length < offset + bytes.len() {
            self.set_length(offset + bytes.len());
        }
        let mut done = 0;
        while done < bytes.len() {
            let (number, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - within).min(bytes.len() - done);
            let part = &bytes[done..done + count];
            let page = &mut self.pages[number];
            if let Ok(whole) = <&[u8; PAGE]>::try_from(part) {
                *page = Some(Arc::new(*whole));
            } else {
                let page = page.get_or_insert_with(|| Arc::new([0; PAGE]));
                Arc::make_mut(page)[within..within + count].copy_from_slice(part);
            }
            done += count;
        }
    }

    pub fn set_length(&mut self, length: usize) {
        let shrinks = length < self.length;
        self.length = length;
        self.pages.resize(length.div_ceil(PAGE), None);
        if let Some(Some(page)) = self.pages.last_mut().filter(|_| shrinks && !length.is_multiple_of(PAGE)) {
            Arc::make_mut(page)[length % PAGE..].fill(0);
        }
    }

    /// Takes a page over from another file, sharing it; the length stays, and what lies past it is not taken.
    pub fn share(&mut self, from: &Self, number: usize) {
        if let Some(page) = self.pages.get_mut(number) {
            *page = from.pages.get(number).cloned().flatten();
        }
    }

    /// The numbers of the pages a range touches.
    pub fn touched(offset: usize, length: usize) -> std::ops::Range<usize> {
        if length == 0 {
            return 0..0;
        }
        offset / PAGE..(offset + length).div_ceil(PAGE)
    }
}

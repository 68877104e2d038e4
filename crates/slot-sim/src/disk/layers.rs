//! One file on a disk: as processes see it, as it is durable, and the changes between the two.
//!
//! What always holds: `live` is `durable` and all changes in order, but for pages whose sync failed: those read as written,
//! count as clean, and become durable only when they are written again (fsyncgate, P11).

use super::fault::Lands;
use super::pages::Pages;
use crate::queue::Stream;
use std::collections::BTreeSet;

/// Bytes that a disk writes as a whole or not at all, when it is a good one.
const SECTOR: u64 = 512;

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Box<[u8]> },
    Length { length: usize, shrinks: bool },
}

/// One file.
#[derive(Clone, Default)]
pub(super) struct Layers {
    live: Pages,
    durable: Pages,
    unsynced: Vec<Change>,
    /// Clean pages that are not durable.
    lost: BTreeSet<usize>,
}

impl Layers {
    /// A file that is durable as it is.
    pub fn durable(pages: Pages) -> Self {
        Self { live: pages.clone(), durable: pages, ..Self::default() }
    }

    pub fn live_pages(&self) -> &Pages {
        &self.live
    }

    pub fn durable_pages(&self) -> &Pages {
        &self.durable
    }

    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether a power failure could change it.
    pub fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty() || self.has_lost()
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.live.write(offset, bytes);
        self.unsynced.push(Change::Write { offset, bytes: bytes.into() });
    }

    pub fn set_length(&mut self, length: usize) {
        let shrinks = length < self.live.length();
        self.live.set_length(length);
        self.unsynced.push(Change::Length { length, shrinks });
    }

    /// Everything written is durable now.
    pub fn sync(&mut self) {
        let Self { live, durable, unsynced, lost } = self;
        if unsynced.is_empty() {
            return;
        }
        let before = durable.length();
        durable.set_length(live.length());
        for change in unsynced.drain(..) {
            let pages = match change {
                Change::Write { offset, bytes } => Pages::touched(offset, bytes.len()),
                Change::Length { length, shrinks: true } => {
                    Pages::touched(length, before.max(live.length()).saturating_sub(length))
                }
                Change::Length { .. } => continue,
            };
            for number in pages {
                durable.share(live, number);
                lost.remove(&number);
            }
        }
    }

    /// A sync failed: what is unsynced counts as clean, and only what `lands` names is durable.
    pub fn sync_failed(&mut self, lands: Lands) {
        for (number, change) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            if lands.takes(number) {
                apply(&mut self.durable, &change, None);
            } else if let Change::Write { offset, bytes } = change {
                self.lost.extend(Pages::touched(offset, bytes.len()));
            }
        }
    }

    /// The power failed: an arbitrary subset of the changes is there, one of them possibly torn.
    pub fn power_failed(&mut self, faults: &mut Stream) {
        let changes = std::mem::take(&mut self.unsynced);
        if !changes.is_empty() {
            let kept = subset(changes.len(), faults);
            let torn = faults.one_in(2).then(|| faults.within(0, changes.len() as u64 - 1) as usize);
            for (number, change) in changes.iter().enumerate() {
                if torn == Some(number) {
                    apply(&mut self.durable, change, Some(faults));
                } else if kept[number] {
                    apply(&mut self.durable, change, None);
                }
            }
        }
        self.lost.clear();
        self.live = self.durable.clone();
    }
}

/// Which of so many changes a power failure keeps: none, all, a first part, or any.
pub(super) fn subset(count: usize, faults: &mut Stream) -> Vec<bool> {
    let first = match faults.within(0, 7) {
        0 => 0,
        1 => count,
        2 => faults.within(0, count as u64) as usize,
        _ => return (0..count).map(|_| faults.one_in(2)).collect(),
    };
    (0..count).map(|number| number < first).collect()
}

fn apply(pages: &mut Pages, change: &Change, tear: Option<&mut Stream>) {
    match (change, tear) {
        (Change::Write { offset, bytes }, None) => pages.write(*offset, bytes),
        (Change::Write { offset, bytes }, Some(faults)) => {
            let (start, length) = (*offset as u64, bytes.len() as u64);
            let mut cut = faults.within(0, length);
            let sectors = faults.one_in(2);
            if sectors {
                cut = ((start + cut) / SECTOR * SECTOR).saturating_sub(start);
            }
            let cut = cut as usize;
            // A disk may write its sectors in any order; bytes of one sector go in order.
            if sectors && faults.one_in(2) {
                pages.write(offset + cut, &bytes[cut..]);
            } else if cut > 0 {
                pages.write(*offset, &bytes[..cut]);
            }
        }
        (Change::Length { length, .. }, None) => pages.set_length(*length),
        (Change::Length { length, .. }, Some(faults)) => {
            if faults.one_in(2) {
                pages.set_length(*length);
            }
        }
    }
}

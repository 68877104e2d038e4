//! A sparse table of numbers, one for each ordered pair of hosts that shares a store.
//!
//! What always holds: nothing depends on the table's size or history: a pair that was never added is 0, and nothing
//! walks the table. It is hashed by arithmetic alone, so it is the same on every machine.

use super::model::NOWHERE;

const EMPTY: (u32, u32) = (NOWHERE, NOWHERE);

/// A number for each ordered pair of hosts; most are 0.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Twelve bytes each: what is looked up all over the table is mostly waited for.
    cells: Vec<((u32, u32), u32)>,
    used: usize,
}

impl Pairs {
    /// A table that will hold about half as many pairs as there are copies.
    pub fn for_copies(copies: usize) -> Pairs {
        Pairs { cells: vec![(EMPTY, 0); copies.next_power_of_two().max(16)], used: 0 }
    }
    #[inline]
    fn cell(&self, key: (u32, u32)) -> usize {
        let mask = self.cells.len() - 1;
        let both = (u64::from(key.0) << 32) | u64::from(key.1);
        // Fibonacci hashing: the high bits of a product by the golden ratio are well mixed.
        let mut at = (both.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24) as usize & mask;
        while self.cells[at].0 != key && self.cells[at].0 != EMPTY {
            at = (at + 1) & mask;
        }
        at
    }
    /// The number of a pair.
    #[inline]
    pub fn get(&self, a: u32, b: u32) -> u32 {
        self.cells[self.cell((a, b))].1
    }
    /// Adds to a pair. Answers what it then is.
    #[inline]
    pub fn add(&mut self, a: u32, b: u32, by: u32) -> u32 {
        let key = (a, b);
        let mut at = self.cell(key);
        if self.cells[at].0 == EMPTY {
            if (self.used + 1) * 4 > self.cells.len() * 3 {
                self.grow();
                at = self.cell(key);
            }
            self.cells[at].0 = key;
            self.used += 1;
        }
        self.cells[at].1 = self.cells[at].1.saturating_add(by);
        self.cells[at].1
    }
    /// Takes from a pair what was added to it.
    #[inline]
    pub fn sub(&mut self, a: u32, b: u32, by: u32) {
        let at = self.cell((a, b));
        debug_assert!(self.cells[at].1 >= by, "more is taken from ({a}, {b}) than was added");
        self.cells[at].1 -= by;
    }
    fn grow(&mut self) {
        let bigger = vec![(EMPTY, 0); self.cells.len() * 2];
        let old = std::mem::replace(&mut self.cells, bigger);
        self.used = 0;
        for (key, number) in old.into_iter().filter(|(key, number)| *key != EMPTY && *number > 0) {
            let at = self.cell(key);
            self.cells[at] = (key, number);
            self.used += 1;
        }
    }
}

impl PartialEq for Pairs {
    fn eq(&self, other: &Pairs) -> bool {
        let within = |a: &Pairs, b: &Pairs| {
            let mut filled = a.cells.iter().filter(|(key, _)| *key != EMPTY);
            filled.all(|(key, number)| b.cells[b.cell(*key)].1 == *number)
        };
        within(self, other) && within(other, self)
    }
}

impl Eq for Pairs {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    proptest::proptest! {
        #[test]
        fn counts_as_an_ordered_map_does(adds in proptest::collection::vec((0u32..40, 0u32..40, 1u32..4), 0..400)) {
            let (mut pairs, mut map) = (Pairs::for_copies(0), BTreeMap::new());
            for (turn, &(a, b, by)) in adds.iter().enumerate() {
                pairs.add(a, b, by);
                *map.entry((a, b)).or_insert(0) += by;
                if turn % 3 == 0 {
                    pairs.sub(a, b, by);
                    *map.get_mut(&(a, b)).unwrap() -= by;
                }
            }
            for a in 0..40 {
                for b in 0..40 {
                    proptest::prop_assert_eq!(pairs.get(a, b), map.get(&(a, b)).copied().unwrap_or(0));
                }
            }
        }
    }
}

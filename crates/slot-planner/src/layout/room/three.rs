//! Three hosts and what is on them, packed anew by trying all that could do.
//!
//! What always holds: a packing that is answered fits, in bytes and slots; none is left out, as long as the question's steps last.

use super::Question;

/// The copies by bit, the largest first.
pub(super) struct Three<'t> {
    pub question: &'t Question<'t>,
    pub sizes: &'t [i64],
    /// Which copies each host may have.
    pub may: [u16; 3],
    /// What each could hold, were it empty.
    pub bytes: [i64; 3],
    pub slots: [i64; 3],
}

/// What a host may still take, and what it has to at least.
#[derive(Clone, Copy)]
struct Left {
    most: i64,
    least: i64,
    slots: i64,
}

impl Three<'_> {
    /// With more of them there are too many ways.
    pub const COPIES_MAX: usize = 14;

    /// Which copies go to each host.
    pub fn pack(&self) -> Option<[u16; 3]> {
        let all = (1u16 << self.sizes.len()) - 1;
        let rest = self.sizes.iter().sum::<i64>() - self.bytes[1] - self.bytes[2];
        let left = Left { most: self.bytes[0], least: rest, slots: self.slots[0] };
        self.choose(None, 0, all, 0, left)
    }

    /// Goes on choosing for a host, from this bit on, of what is there.
    fn choose(&self, first: Option<u16>, bit: usize, there: u16, chosen: u16, left: Left) -> Option<[u16; 3]> {
        if !self.question.may_go_on(1) || left.most < 0 || left.slots < 0 {
            return None;
        }
        let open = there & (u16::MAX << bit) & self.may[usize::from(first.is_some())];
        // The largest that could still be chosen all together are too few.
        if left.least > self.bytes_of(open) {
            return None;
        }
        if open == 0 {
            return self.chosen(first, there, chosen);
        }
        let next = open.trailing_zeros() as usize;
        let size = self.sizes[next];
        let with = Left { most: left.most - size, least: left.least - size, slots: left.slots - 1 };
        let with = self.choose(first, next + 1, there, chosen | 1 << next, with);
        with.or_else(|| self.choose(first, next + 1, there, chosen, left))
    }

    /// One host has what it gets: the next one chooses, and the last one takes the rest.
    fn chosen(&self, first: Option<u16>, there: u16, chosen: u16) -> Option<[u16; 3]> {
        let rest = there & !chosen;
        if let Some(first) = first {
            let fits = self.bytes_of(rest) <= self.bytes[2] && i64::from(rest.count_ones()) <= self.slots[2];
            return (fits && rest & !self.may[2] == 0).then_some([first, chosen, rest]);
        }
        if rest & !(self.may[1] | self.may[2]) != 0 {
            return None;
        }
        let least = self.bytes_of(rest) - self.bytes[2];
        self.choose(Some(chosen), 0, rest, 0, Left { most: self.bytes[1], least, slots: self.slots[1] })
    }

    fn bytes_of(&self, copies: u16) -> i64 {
        (0..self.sizes.len()).filter(|bit| copies >> bit & 1 == 1).map(|bit| self.sizes[bit]).sum()
    }
}

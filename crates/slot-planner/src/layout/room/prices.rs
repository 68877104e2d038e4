//! Prices of copies that show that there is no room for all of them.
//!
//! What always holds, whatever the prices: a packing puts on no host copies that are worth more than the most valuable ones that it can
//! hold. So where all copies together are worth more than the hosts' most together, there is no packing. Sizes as prices are the
//! count of bytes, ones the count of slots; others are found by making dearer what no host chose and cheaper what several did (the dual of
//! packing whole hosts, Gilmore and Gomory 1961, climbed by subgradients). Prices are whole numbers, and nothing is rounded in favour of a no.

use super::rebuild::Rebuilding;

/// More copies times hosts are not priced.
const PRICED_MAX: usize = 20_000;
/// How often prices are changed, and steps of choosing for hosts in all of it.
const ROUNDS_MAX: u32 = 300;
const STEPS_MAX: u64 = 200_000;
/// Steps of choosing for one host, once; with more of them it is taken to hold parts of copies.
const CHOICE_MAX: u32 = 1_000;
/// What the largest copy costs at first, and what any costs at most.
const FIRST_PRICE: u128 = 1 << 20;
const PRICE_MAX: i64 = 1 << 40;

/// A host, with what it may have.
struct Shelf {
    bytes: u64,
    slots: u32,
    may: Vec<bool>,
}

impl Rebuilding<'_> {
    /// Whether prices were found at which the copies are worth more than the hosts can hold.
    pub(super) fn is_priced_out(&self) -> bool {
        let shelves = self.shelves();
        let largest = self.lost.first().map_or(0, |copy| copy.size);
        if largest == 0 || self.lost.len() * shelves.len() > PRICED_MAX {
            return false;
        }
        let first = |size: u64| i64::try_from(u128::from(size) * FIRST_PRICE / u128::from(largest)).unwrap_or(0).max(1);
        let mut prices: Vec<i64> = self.lost.iter().map(|copy| first(copy.size)).collect();
        let (mut spent, mut least, mut since, mut halved) = (0, i64::MAX, 0, 0);
        for _ in 0..ROUNDS_MAX {
            let (most, chosen, steps) = self.most_valuable(&shelves, &prices);
            spent += steps;
            let worth: i64 = prices.iter().sum();
            let gap = most - worth;
            if gap < 0 {
                return true;
            }
            // How often each was chosen too seldom: once is right.
            let lacks: Vec<i64> = chosen.iter().map(|count| 1 - i64::from(*count)).collect();
            let squares: i64 = lacks.iter().map(|lack| lack * lack).sum();
            if squares == 0 || spent > STEPS_MAX || !self.question.may_go_on(steps) {
                return false;
            }
            since = if gap < least { 0 } else { since + 1 };
            least = least.min(gap);
            if since == 20 {
                (since, halved) = (0, halved + 1);
            }
            let step = (((gap + worth / 1_000) / squares) >> halved.min(10)).max(1);
            for (price, lack) in prices.iter_mut().zip(lacks) {
                *price = price.saturating_add(step.saturating_mul(lack)).clamp(0, PRICE_MAX);
            }
        }
        false
    }

    fn shelves(&self) -> Vec<Shelf> {
        let shelf = |host: u32| Shelf {
            bytes: self.free.bytes[host as usize],
            slots: self.free.slots[host as usize],
            may: self.lost.iter().map(|copy| self.question.may(copy, &self.gone, host)).collect(),
        };
        self.left().filter(|host| self.free.slots[*host as usize] > 0).map(shelf).collect()
    }

    /// What the hosts can hold together at most, each for itself; how often each copy was chosen for it; and the steps it took.
    fn most_valuable(&self, shelves: &[Shelf], prices: &[i64]) -> (i64, Vec<u32>, u64) {
        let dear = |nth: &usize| (prices[*nth], self.lost[*nth].size);
        let mut order: Vec<usize> = (0..prices.len()).filter(|nth| prices[*nth] > 0).collect();
        order.sort_by(|a, b| {
            let ((price, size), (other_price, other_size)) = (dear(a), dear(b));
            (i128::from(other_price) * i128::from(size))
                .cmp(&(i128::from(price) * i128::from(other_size)))
                .then(a.cmp(b))
        });
        let (mut most, mut chosen, mut steps) = (0i64, vec![0u32; prices.len()], 0);
        for shelf in shelves {
            let able = |nth: &usize| shelf.may[*nth] && self.lost[*nth].size <= shelf.bytes;
            let copies: Vec<usize> = order.iter().copied().filter(able).collect();
            let items = copies.iter().map(dear).collect();
            let mut choice = Choice { items, best: 0, taken: Vec::new(), at_best: Vec::new(), steps: 0 };
            choice.choose(0, shelf.bytes, shelf.slots, 0);
            // An unfinished choice may have missed the best; no choice is worth more than one with parts of copies.
            most += if choice.steps < CHOICE_MAX { choice.best } else { choice.in_parts(0, shelf.bytes) };
            choice.at_best.iter().for_each(|item| chosen[copies[*item]] += 1);
            steps += u64::from(choice.steps);
        }
        (most, chosen, steps)
    }
}

/// The choice of copies for one host: by price and size, the dearest for its size first.
struct Choice {
    items: Vec<(i64, u64)>,
    best: i64,
    taken: Vec<usize>,
    at_best: Vec<usize>,
    steps: u32,
}

impl Choice {
    /// What so many bytes could be worth, at most, if the first copy that does not fit whole were cut.
    fn in_parts(&self, from: usize, mut bytes: u64) -> i64 {
        let mut worth = 0;
        for (price, size) in &self.items[from..] {
            if *size > bytes {
                let part = (i128::from(*price) * i128::from(bytes)).div_euclid(i128::from(*size)) + 1;
                return worth + i64::try_from(part).unwrap_or(*price).min(*price);
            }
            (worth, bytes) = (worth + price, bytes - size);
        }
        worth
    }

    fn choose(&mut self, from: usize, bytes: u64, slots: u32, worth: i64) {
        if worth > self.best {
            self.best = worth;
            self.at_best.clone_from(&self.taken);
        }
        for next in from..self.items.len() {
            if slots == 0 || self.steps >= CHOICE_MAX || worth + self.in_parts(next, bytes) <= self.best {
                return;
            }
            self.steps += 1;
            let (price, size) = self.items[next];
            if size <= bytes {
                self.taken.push(next);
                self.choose(next + 1, bytes - size, slots - 1, worth + price);
                self.taken.pop();
            }
        }
    }
}

//! A vector that copies of a fleet have in common until one of them changes it.
//!
//! What always holds: who holds one sees a vector of its own: a change shows nowhere else. A copy that nobody changes costs
//! nothing, however long the vector is, and a fleet is copied whenever hosts are given the states that a goal asks for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A vector, copied when it is first changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared<T>(Arc<Vec<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared(Arc::new(Vec::new()))
    }
}

impl<T> From<Vec<T>> for Shared<T> {
    fn from(all: Vec<T>) -> Self {
        Shared(Arc::new(all))
    }
}

impl<T> Deref for Shared<T> {
    type Target = Vec<T>;
    #[inline]
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<T> {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a, T> IntoIterator for &'a Shared<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_in_the_copy_that_was_changed_alone() {
        let one: Shared<u32> = vec![1, 2].into();
        let mut other = one.clone();
        assert!(std::ptr::eq(one.as_slice(), other.as_slice()), "a copy nobody changed is the same memory");
        other.push(3);
        other[0] = 9;
        assert_eq!((one.to_vec(), other.to_vec()), (vec![1, 2], vec![9, 2, 3]));
    }
}

//! What the fullest host leads at least, tried one way after the other: the judges' own count.
//!
//! What always holds: no code of the planner's is used.

/// The least that the fullest host leads, over every way to give each of these masters one of its heirs.
pub fn least_fullest(heirs: &[&[usize]], load: &mut [usize]) -> usize {
    let Some((first, rest)) = heirs.split_first() else { return load.iter().copied().max().unwrap_or(0) };
    if first.is_empty() {
        return least_fullest(rest, load);
    }
    let tried = first.iter().map(|host| {
        load[*host] += 1;
        let fullest = least_fullest(rest, load);
        load[*host] -= 1;
        fullest
    });
    tried.min().unwrap_or(0)
}

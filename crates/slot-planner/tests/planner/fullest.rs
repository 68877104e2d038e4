//! What the fullest host bears at least, tried one way after the other: the judges' own count.
//!
//! What always holds: no code of the planner's is used.

/// What a load comes to on a host of this weight, in thousandths.
pub fn level(load: usize, weight: usize) -> usize {
    (load * 1_000).div_ceil(weight)
}

/// The least that the fullest host bears, over every way to give each of these masters, which weigh so much, one of its heirs.
pub fn least_fullest(heirs: &[(usize, &[usize])], load: &mut [usize], weight: &[usize]) -> usize {
    let Some(((master, first), rest)) = heirs.split_first() else {
        return load.iter().zip(weight).map(|(load, weight)| level(*load, *weight)).max().unwrap_or(0);
    };
    if first.is_empty() {
        return least_fullest(rest, load, weight);
    }
    let tried = first.iter().map(|host| {
        load[*host] += master;
        let fullest = least_fullest(rest, load, weight);
        load[*host] -= master;
        fullest
    });
    tried.min().unwrap_or(0)
}

/// The same of masters that weigh alike on hosts that do: their number.
pub fn least_masters(heirs: &[&[usize]], load: &mut [usize]) -> usize {
    let heirs: Vec<(usize, &[usize])> = heirs.iter().map(|hosts| (1, *hosts)).collect();
    let weights = vec![1; load.len()];
    least_fullest(&heirs, load, &weights) / 1_000
}

//! What is remembered in two copies, written in turn.
//!
//! A browser replaces an entry of Cache Storage by deleting it and writing it anew: one that is killed in between leaves
//! nothing, or half of it. So whatever is written again and again has two entries, each numbered, and the one that was
//! written last is never touched by the next write. What is read is the newest copy that is whole.

/// The name of the entry that copy `number` of `name` goes to.
pub fn place(name: &str, number: u64) -> String {
    [name, if number.is_multiple_of(2) { "" } else { "-2" }].concat()
}

/// A copy with its number.
pub fn number(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&number.to_le_bytes()[..], bytes].concat()
}

/// The copies that are there, newest first, with their numbers.
pub fn newest_first(copies: [Option<Vec<u8>>; 2]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    for copy in copies.iter().flatten() {
        if let Some((&number, bytes)) = copy.split_first_chunk() {
            found.push((u64::from_le_bytes(number), bytes.to_vec()));
        }
    }
    if let [(first, _), (second, _)] = &found[..]
        && second > first
    {
        found.swap(0, 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Site;

    #[test]
    fn a_write_that_is_cut_anywhere_leaves_what_was_written_before() {
        let mut entries = crate::sorted::Map::default();
        for round in 0..6 {
            let site = |floor| {
                let mut site = Site::default();
                (site.floor, site.paused) = (floor, true);
                site
            };
            let copy = number(round, &site(round).encode());
            let place = place("state", round);
            for cut in 0..=copy.len() {
                entries.insert(place.clone(), copy[..cut].to_vec());
                let copies = ["state", "state-2"].map(|name| entries.get(&name.to_owned()).cloned());
                let found =
                    newest_first(copies).into_iter().find_map(|(at, bytes)| Site::read(&bytes).map(|site| (at, site)));
                let is_whole = cut == copy.len();
                let wanted = if is_whole { Some(round) } else { round.checked_sub(1) };
                assert_eq!(found, wanted.map(|at| (at, site(at))));
            }
        }
    }
}

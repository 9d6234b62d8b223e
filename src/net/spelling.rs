//! Which known names a misspelt one may have meant.
//!
//! Apart from what is named: schemes, options and services are proposed by the same measure.

/// The most letters that a misspelt name may be wrong in.
const MAX_SLIP: usize = 2;

/// The most names that are proposed.
const MAX_PROPOSALS: usize = 3;

/// The names that are close to a word, the closest first, without regard to case.
pub(super) fn near<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut close: Vec<(usize, &str)> = names
        .map(|known| (distance(&word, &known.to_lowercase()), known))
        // In a short name, two letters are most of it.
        .filter(|(distance, known)| *distance <= MAX_SLIP && *distance * 2 < known.len())
        .collect();
    // Of a name and its form in capitals, the name.
    close.sort_by_key(|(distance, known)| (*distance, known.to_lowercase(), known.to_lowercase() != *known));
    close.dedup_by(|(_, second), (_, first)| second.eq_ignore_ascii_case(first));
    close.truncate(MAX_PROPOSALS);
    close.into_iter().map(|(_, known)| known).collect()
}

/// How many letters must be put in, left out, changed, or swapped with their neighbour to make one name of the other
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = match (i, j) {
                (0, length) | (length, 0) => length,
                _ => {
                    let changed = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_slips_between_names() {
        for (one, other, slips) in [
            ("", "", 0),
            ("http", "http", 0),
            ("htp", "http", 1),
            ("htpt", "http", 1),
            ("shs", "ssh", 1),
            ("", "abc", 3),
            ("nodlay", "nodelay", 1),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (slips, slips), "{one} {other}");
        }
    }

    #[test]
    fn proposes_the_closest_first() {
        let names = ["https", "http", "ftp", "TCP", "tcp", "udp"];
        assert_eq!(near("htpt", names.into_iter()), ["http", "https"]);
        assert_eq!(near("TPC", names.into_iter()), ["tcp"]);
        assert_eq!(near("upd", names.into_iter()), ["udp"]);
        assert_eq!(near("cheerios", names.into_iter()), [] as [&str; 0]);
    }
}

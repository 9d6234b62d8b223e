//! `Ranges`: which of many ranges of numbers a number lies in, found by halving.
//!
//! Apart from the rules, because addresses of both versions of IP, users, groups and machines are all numbers to it.

/// The numbers from `first` to `last`, and the rule that they come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range<T> {
    pub(super) first: T,
    pub(super) last: T,
    /// The place of the rule among all.
    pub(super) rule: u32,
}

/// Ranges in the order of their first numbers, none within another: so their last numbers are in order, too.
#[derive(Clone, Debug)]
pub(super) struct Ranges<T>(Vec<Range<T>>);

impl<T: Copy + Ord> Ranges<T> {
    /// Of a range within another, the wider one stays; of two that are the same, the first rule's.
    pub(super) fn new(mut ranges: Vec<Range<T>>) -> Self {
        ranges.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)).then(a.rule.cmp(&b.rule)));
        let mut kept: Vec<Range<T>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if kept.last().is_none_or(|before| before.last < range.last) {
                kept.push(range);
            }
        }
        kept.shrink_to_fit();
        Self(kept)
    }

    /// The rule of a range that has `number` in it.
    pub(super) fn find(&self, number: T) -> Option<u32> {
        // Of all that begin at or before it, the last reaches farthest.
        let after = self.0.partition_point(|range| range.first <= number);
        let nearest = self.0.get(after.checked_sub(1)?)?;
        (number <= nearest.last).then_some(nearest.rule)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(pairs: &[(u8, u8)]) -> (Vec<Range<u8>>, Ranges<u8>) {
        let rule = |at: usize| u32::try_from(at).expect("few");
        let all: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(at, (a, b))| Range { first: *a.min(b), last: *a.max(b), rule: rule(at) })
            .collect();
        (all.clone(), Ranges::new(all))
    }

    #[test]
    fn the_widest_and_the_first_gives_its_name() {
        let (_, table) = ranges(&[(5, 6), (0, 9), (0, 9), (9, 12)]);
        assert_eq!([0, 5, 9, 10, 12, 13].map(|n| table.find(n)), [Some(1), Some(1), Some(3), Some(3), Some(3), None]);
        assert_eq!(ranges(&[]).1.find(0), None);
        assert_eq!(ranges(&[(255, 255)]).1.find(255), Some(0));
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_each(pairs in proptest::collection::vec(any::<(u8, u8)>(), 0..40)) {
            let (all, table) = ranges(&pairs);
            for number in 0..=u8::MAX {
                let holds = |range: &&Range<u8>| range.first <= number && number <= range.last;
                match table.find(number) {
                    None => prop_assert!(!all.iter().any(|range| holds(&range)), "{number}"),
                    Some(rule) => prop_assert!(holds(&&all[rule as usize]), "{number}"),
                }
            }
        }
    }
}

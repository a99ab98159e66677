//! Small ordered maps and sets: sorted vectors.
//!
//! Every visitor downloads each type's own copy of a generic collection. A B-tree's is some 8 KB of wasm, these are some
//! hundreds of bytes, and faster up to a few thousand items. Inserting moves what lies behind: where a hundred thousand
//! may come at once, they are sorted first ([`Map::of`], [`Set::extend`]).

use std::borrow::Borrow;
use std::collections::BinaryHeap;

/// Sorts by a heap: half a KB of wasm a type, where `sort_unstable` is 2 to 3 KB.
pub fn sort<T: Ord>(items: Vec<T>) -> Vec<T> {
    BinaryHeap::from(items).into_sorted_vec()
}

/// A map in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<K, V>(Vec<(K, V)>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V: Ord> Map<K, V> {
    /// The map of these items, in whatever order they are; of one key's values the greatest is kept.
    pub fn of(items: Vec<(K, V)>) -> Self {
        let mut items = sort(items);
        items.reverse();
        items.dedup_by(|next, kept| next.0 == kept.0);
        items.reverse();
        Self(items)
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, v)| v)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, v)| v)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of a key; the value that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, v)| std::mem::replace(v, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes a key out; the value that it had.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// Keys and values in order, the values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(k, v)| (&*k, v))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(k, _)| k)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, v)| v)
    }

    /// The values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, v)| v)
    }

    /// Takes everything out, in order.
    pub fn take(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// The value of a key, made where there is none.
    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, value()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// Takes out what `keep` says no to.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(k, v)| keep(k, v));
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(k, _)| k.borrow().cmp(key))
    }
}

/// A set in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T>(Vec<T>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Set<T> {
    /// Whether it holds this.
    pub fn contains(&self, item: &T) -> bool {
        self.0.binary_search(item).is_ok()
    }

    /// Puts this in; false where it was there.
    pub fn insert(&mut self, item: T) -> bool {
        match self.0.binary_search(&item) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, item);
                true
            }
        }
    }

    /// Puts all of these in, in one pass.
    pub fn extend(&mut self, items: Vec<T>) {
        let mut new = sort(items).into_iter().peekable();
        let mut merged = Vec::with_capacity(self.0.len() + new.len());
        for item in std::mem::take(&mut self.0) {
            while let Some(before) = new.next_if(|new| *new < item) {
                merged.push(before);
            }
            merged.push(item);
        }
        merged.extend(new);
        merged.dedup();
        self.0 = merged;
    }

    /// Takes all of these out, in one pass.
    pub fn remove_all(&mut self, items: Vec<T>) {
        let items = sort(items);
        self.0.retain(|item| items.binary_search(item).is_err());
    }

    /// Takes this out; false where it was not there.
    pub fn remove(&mut self, item: &T) -> bool {
        self.0.binary_search(item).map(|at| self.0.remove(at)).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// All of it in order, as a vector.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn they_do_what_b_trees_do() {
        let mut rng = Rng::new(3);
        let (mut map, mut set) = (Map::default(), Set::default());
        let (mut tree, mut tree_set) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..5_000 {
            let (key, value) = (rng.below(100), rng.next_u64());
            match rng.below(3) {
                0 => assert_eq!(map.insert(key, value), tree.insert(key, value)),
                1 => assert_eq!(map.remove(&key), tree.remove(&key)),
                _ => assert_eq!(map.get_mut(&key), tree.get_mut(&key)),
            }
            match rng.below(3) {
                0 => assert_eq!(set.insert(key), tree_set.insert(key)),
                1 => assert_eq!(set.remove(&key), tree_set.remove(&key)),
                _ => assert_eq!(set.contains(&key), tree_set.contains(&key)),
            }
            assert_eq!((map.get(&key), map.len()), (tree.get(&key), tree.len()));
        }
        assert!(map.iter().eq(tree.iter()) && map.keys().eq(tree.keys()) && set.iter().eq(&tree_set));
        assert!(map.take().eq(tree) && map.is_empty());
    }

    #[test]
    fn many_at_once_do_what_one_by_one_does() {
        let mut rng = Rng::new(5);
        let mut draw = |most: u64| -> Vec<u64> { (0..rng.below(most)).map(|_| rng.below(200)).collect() };
        let (mut set, mut tree) = (Set::default(), BTreeSet::new());
        for _ in 0..200 {
            let (more, less) = (draw(50), draw(50));
            tree.extend(&more);
            tree.retain(|item| !less.contains(item));
            set.extend(more);
            set.remove_all(less);
            assert!(set.iter().eq(&tree));
        }
        let items: Vec<_> = draw(500).into_iter().zip(draw(500)).collect();
        let mut tree = BTreeMap::new();
        for &(key, value) in &items {
            let greatest = tree.entry(key).or_insert(value);
            *greatest = value.max(*greatest);
        }
        assert!(!tree.is_empty() && Map::of(items).take().eq(tree));
    }
}

//! How often each cluster of a file is referred to, counted.

use std::collections::BTreeMap;

/// Clusters of a page of counts.
const PAGE: u64 = 1024;

/// Counts by cluster number; only such pages are kept in which something was counted.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<u64, Box<[u32]>>);

impl Counts {
    /// References to a cluster.
    pub fn get(&self, cluster: u64) -> u64 {
        let page = self.0.get(&(cluster / PAGE));
        u64::from(page.and_then(|page| page.get((cluster % PAGE) as usize)).copied().unwrap_or(0))
    }

    /// `more` references to each of a run of clusters.
    pub fn add(&mut self, first: u64, count: u64, more: u32) {
        for cluster in first..first.saturating_add(count) {
            let page = self.0.entry(cluster / PAGE).or_insert_with(|| vec![0; PAGE as usize].into());
            if let Some(n) = page.get_mut((cluster % PAGE) as usize) {
                *n = n.saturating_add(more);
            }
        }
    }

    /// Every cluster with references, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().flat_map(|(page, counts)| {
            let numbered = counts.iter().enumerate().filter(|(_, n)| **n > 0);
            numbered.map(move |(at, n)| (page * PAGE + at as u64, u64::from(*n)))
        })
    }
}

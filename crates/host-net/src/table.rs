//! Flows by their ends and by their place, no more than a fixed number.

use std::collections::HashMap;
use std::hash::Hash;

/// A place for a flow; events carry its generation, so that a late one does not meet the next flow.
#[derive(Debug)]
struct Slot<F> {
    generation: u32,
    flow: Option<F>,
}

/// Flows. The keys are the guest's to choose, so they are hashed with a secret (the standard library's SipHash).
#[derive(Debug)]
pub struct Table<K, F> {
    slots: Vec<Slot<F>>,
    free: Vec<u32>,
    places: HashMap<K, u32>,
    most: u32,
}

impl<K: Eq + Hash, F> Table<K, F> {
    /// A table of at most `most` flows.
    pub fn new(most: u32) -> Self {
        Table { slots: Vec::new(), free: Vec::new(), places: HashMap::new(), most }
    }

    /// Flows in it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.places.len() >= self.most as usize
    }

    /// The place and generation that the next flow will have.
    pub fn next(&mut self) -> Option<(u32, u32)> {
        if self.is_full() {
            return None;
        }
        if let Some(&place) = self.free.last() {
            return Some((place, self.slots.get(place as usize)?.generation));
        }
        let place = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { generation: 0, flow: None });
        self.free.push(place);
        Some((place, 0))
    }

    /// Puts a flow at the place that [`Table::next`] said.
    pub fn insert(&mut self, key: K, flow: F) {
        if let Some(place) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(place as usize)
        {
            slot.flow = Some(flow);
            self.places.insert(key, place);
        }
    }

    /// Where the flow with these ends is.
    pub fn find(&self, key: &K) -> Option<u32> {
        self.places.get(key).copied()
    }

    /// The flow at a place.
    pub fn at(&mut self, place: u32) -> Option<&mut F> {
        self.slots.get_mut(place as usize)?.flow.as_mut()
    }

    /// The flow at a place, if it is the one that an event is about.
    pub fn at_generation(&mut self, place: u32, generation: u32) -> Option<&mut F> {
        let slot = self.slots.get_mut(place as usize)?;
        if slot.generation == generation { slot.flow.as_mut() } else { None }
    }

    /// Removes the flow at a place.
    pub fn remove(&mut self, place: u32, key: &K) -> Option<F> {
        let slot = self.slots.get_mut(place as usize)?;
        let flow = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1) & crate::host::GENERATIONS;
        self.places.remove(key);
        self.free.push(place);
        Some(flow)
    }

    /// Every flow with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &F)> {
        (0u32..).zip(&self.slots).filter_map(|(place, slot)| Some((place, slot.flow.as_ref()?)))
    }

    /// Places there are, used or not.
    pub fn places(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_does_not_meet_the_next_flow() {
        let mut table: Table<u8, &str> = Table::new(1);
        let (place, generation) = table.next().unwrap();
        table.insert(7, "first");
        assert!(table.is_full() && table.next().is_none());
        assert_eq!(table.at_generation(place, generation), Some(&mut "first"));
        assert_eq!(table.remove(place, &7), Some("first"));
        let (again, next) = table.next().unwrap();
        table.insert(7, "second");
        assert_eq!(again, place);
        assert_eq!(table.at_generation(place, generation), None);
        assert_eq!(table.at_generation(place, next), Some(&mut "second"));
        assert_eq!(table.find(&7), Some(place));
    }
}

//! A timing wheel of one-second buckets over slot numbers. Each slot is in at most one bucket;
//! moving and removing are O(1), and one call of [`Wheel::pop`] looks at one bucket at most a few
//! steps ahead, so that the caller decides how much it does at once.
//!
//! Deadlines beyond the wheel's span are cut to it: the caller looks at the slot then and puts it
//! in again.

const NONE: u32 = u32::MAX;

/// Number of buckets, and the longest distance of a deadline in seconds plus one.
pub(crate) const SPAN_S: u32 = 512;

#[derive(Debug, Clone, Copy)]
struct Links {
    previous: u32,
    next: u32,
    bucket: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Wheel {
    heads: Vec<u32>,
    links: Vec<Links>,
    /// The second whose bucket is emptied next.
    cursor_s: u32,
    count: usize,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel { heads: vec![NONE; SPAN_S as usize], links: Vec::new(), cursor_s: 0, count: 0 }
    }

    /// Puts a slot in for `at_s`, or moves it there.
    pub(crate) fn insert(&mut self, slot: u32, now_s: u32, at_s: u32) {
        self.remove(slot);
        if self.count == 0 {
            self.cursor_s = now_s;
        }
        let earliest = self.cursor_s.saturating_add(1);
        let latest = self.cursor_s.saturating_add(SPAN_S - 1);
        let bucket = at_s.clamp(earliest, latest) % SPAN_S;
        let head = self.heads[bucket as usize];
        if head != NONE {
            self.links[head as usize].previous = slot;
        }
        self.links[slot as usize] = Links { previous: NONE, next: head, bucket };
        self.heads[bucket as usize] = slot;
        self.count += 1;
    }

    /// Takes a slot out, if it is in.
    pub(crate) fn remove(&mut self, slot: u32) {
        let free = Links { previous: NONE, next: NONE, bucket: NONE };
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, free);
        }
        let links = core::mem::replace(&mut self.links[slot as usize], free);
        if links.bucket == NONE {
            return;
        }
        if links.previous == NONE {
            self.heads[links.bucket as usize] = links.next;
        } else {
            self.links[links.previous as usize].next = links.next;
        }
        if links.next != NONE {
            self.links[links.next as usize].previous = links.previous;
        }
        self.count -= 1;
    }

    /// Takes out one slot whose second has come; `None` when there is none until `now_s`.
    pub(crate) fn pop(&mut self, now_s: u32) -> Option<u32> {
        if self.count == 0 {
            self.cursor_s = now_s;
            return None;
        }
        // After a long pause one round visits every bucket.
        self.cursor_s = self.cursor_s.max(now_s.saturating_sub(SPAN_S));
        while self.cursor_s <= now_s {
            let head = self.heads[(self.cursor_s % SPAN_S) as usize];
            if head != NONE {
                self.remove(head);
                return Some(head);
            }
            if self.cursor_s == now_s {
                return None;
            }
            self.cursor_s += 1;
        }
        None
    }

    /// The second at which [`Wheel::pop`] is worth calling again; `None` when it is empty.
    pub(crate) fn next_s(&self) -> Option<u32> {
        (self.count > 0).then(|| self.cursor_s.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(wheel: &mut Wheel, now_s: u32) -> Vec<u32> {
        let mut popped: Vec<u32> = core::iter::from_fn(|| wheel.pop(now_s)).collect();
        popped.sort_unstable();
        popped
    }

    #[test]
    fn slots_come_out_in_their_second_and_not_before() {
        let mut wheel = Wheel::new();
        wheel.insert(0, 1000, 1010);
        wheel.insert(1, 1000, 1010);
        wheel.insert(2, 1000, 1020);
        wheel.insert(3, 1000, 9000);
        assert_eq!(wheel.next_s(), Some(1001));
        assert_eq!(drain(&mut wheel, 1009), []);
        assert_eq!(drain(&mut wheel, 1010), [0, 1]);
        wheel.insert(2, 1010, 1030);
        assert_eq!(drain(&mut wheel, 1029), []);
        assert_eq!(drain(&mut wheel, 1030), [2]);
        assert_eq!(drain(&mut wheel, 1510), []);
        assert_eq!(drain(&mut wheel, 1511), [3], "cut to the span");
        assert_eq!(wheel.next_s(), None);
    }

    #[test]
    fn removed_slots_do_not_come_and_a_pause_loses_none() {
        let mut wheel = Wheel::new();
        for slot in 0..100 {
            wheel.insert(slot, 50, 60 + slot);
        }
        for slot in (0..100).step_by(2) {
            wheel.remove(slot);
        }
        let odd: Vec<u32> = (0..100).filter(|slot| slot % 2 == 1).collect();
        assert_eq!(drain(&mut wheel, 1_000_000), odd);
        assert_eq!(wheel.pop(1_000_001), None);
    }
}

//! Places of activations in one area of memory: planned once, reused as soon as their last reader is done.

use alloc::vec::Vec;

/// Elements between two places that may start: a cache line of floats.
pub(crate) const ALIGN: usize = 16;

/// A place in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) const EMPTY: Span = Span { start: 0, len: 0 };

    pub(crate) fn of<T>(self, area: &[T]) -> &[T] {
        &area[self.start..self.start + self.len]
    }
}

/// Hands out places, first fit.
#[derive(Debug, Default)]
pub(crate) struct Area {
    free: Vec<Span>,
    len: usize,
}

impl Area {
    /// A place for `len` elements, `None` when sizes overflow.
    pub(crate) fn take(&mut self, len: usize) -> Option<Span> {
        let room = len.checked_next_multiple_of(ALIGN)?;
        if let Some(hole) = self.free.iter_mut().find(|hole| hole.len >= room) {
            let start = hole.start;
            hole.start += room;
            hole.len -= room;
            return Some(Span { start, len });
        }
        let start = match self.free.last() {
            Some(hole) if hole.start + hole.len == self.len => {
                let start = hole.start;
                self.free.pop();
                start
            }
            _ => self.len,
        };
        self.len = start.checked_add(room)?;
        Some(Span { start, len })
    }

    /// Gives a place back.
    pub(crate) fn release(&mut self, span: Span) {
        let room = span.len.next_multiple_of(ALIGN);
        let at = self.free.partition_point(|hole| hole.start < span.start);
        self.free.insert(at, Span { start: span.start, len: room });
        self.free.retain(|hole| hole.len > 0);
        let mut merged: Vec<Span> = Vec::with_capacity(self.free.len());
        for hole in self.free.drain(..) {
            match merged.last_mut() {
                Some(last) if last.start + last.len == hole.start => last.len += hole.len,
                _ => merged.push(hole),
            }
        }
        self.free = merged;
    }

    /// Elements of the whole area.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Most places of an area that one step writes.
const MAX_PLACES: usize = 3;

/// An area without the places that are being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a, T> {
    /// What lies before, between and after them, with its start in the area.
    parts: [(usize, &'a [T]); MAX_PLACES + 1],
}

/// Splits an area into the places `out`, which do not overlap, and everything around them.
pub(crate) fn split<T, const N: usize>(
    area: &mut [T],
    out: [Span; N],
) -> ([&mut [T]; N], Around<'_, T>) {
    const { assert!(N <= MAX_PLACES, "there are only so many parts around") };
    let mut order: [usize; N] = core::array::from_fn(|i| i);
    order.sort_unstable_by_key(|&i| (out[i].start, out[i].len));
    let mut places = [const { None }; N];
    let mut parts: [(usize, &[T]); MAX_PLACES + 1] = [(0, &[]); MAX_PLACES + 1];
    let (mut rest, mut start) = (area, 0);
    for (&i, part) in order.iter().zip(&mut parts) {
        let (before, at) = rest.split_at_mut(out[i].start - start);
        let (place, after) = at.split_at_mut(out[i].len);
        *part = (start, &*before);
        places[i] = Some(place);
        (rest, start) = (after, out[i].start + out[i].len);
    }
    parts[N] = (start, &*rest);
    (places.map(Option::unwrap_or_default), Around { parts })
}

impl<'a, T> Around<'a, T> {
    /// The place `span`, which must not overlap those being written.
    pub(crate) fn get(&self, span: Span) -> &'a [T] {
        let holds = |&(start, part): &(usize, &[T])| {
            span.start >= start && span.start + span.len <= start + part.len()
        };
        let (start, part) = self.parts.into_iter().find(holds).unwrap_or_default();
        &part[span.start - start..][..span.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_use_never_overlap_and_holes_are_reused() {
        let mut area = Area::default();
        let a = area.take(10).unwrap();
        let b = area.take(100).unwrap();
        let c = area.take(20).unwrap();
        assert_eq!((a.start, b.start, c.start), (0, 16, 128));
        area.release(b);
        let d = area.take(40).unwrap();
        assert_eq!(d.start, 16);
        area.release(a);
        area.release(d);
        assert_eq!(area.take(112).unwrap().start, 0);
        area.release(c);
        assert_eq!(area.take(64).unwrap().start, 112);
        assert_eq!(area.len(), 176);
        assert_eq!(area.take(usize::MAX), None);
    }

    #[test]
    fn a_split_area_gives_what_lies_before_and_after() {
        let mut area: Vec<usize> = (0..64).collect();
        let ([out], around) = split(&mut area, [Span { start: 16, len: 20 }]);
        assert_eq!((out[0], out.len()), (16, 20));
        assert_eq!(around.get(Span { start: 3, len: 2 }), [3, 4]);
        assert_eq!(around.get(Span { start: 36, len: 2 }), [36, 37]);
    }

    #[test]
    fn several_places_can_be_written_at_once_and_some_of_them_can_be_empty() {
        let mut area: Vec<usize> = (0..64).collect();
        let spans = [Span { start: 48, len: 8 }, Span { start: 16, len: 16 }];
        let ([first, second], around) = split(&mut area, spans);
        assert_eq!((first[0], first.len(), second[0], second.len()), (48, 8, 16, 16));
        for start in [0, 14, 32, 46, 56, 62] {
            assert_eq!(around.get(Span { start, len: 2 }), [start, start + 1]);
        }
        let spans = [Span::EMPTY, Span { start: 0, len: 4 }, Span::EMPTY];
        let ([first, second, third], around) = split(&mut area, spans);
        assert_eq!((first.len(), second.len(), third.len()), (0, 4, 0));
        assert_eq!(around.get(Span { start: 4, len: 60 }).len(), 60);
    }
}

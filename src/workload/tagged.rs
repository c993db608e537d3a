//! Marks the requests of a source, such as with a class; what follows a request bears its mark.

use std::collections::BTreeMap;

use super::{NewRequest, RequestSource};
use crate::base::Nanos;

/// A source whose requests get a mark, which is drawn for each that follows no other.
pub(crate) struct Tagged<D, A> {
    source: Box<dyn RequestSource>,
    /// The marks of requests that others may follow, by id; `None` where none follows another.
    under_way: Option<BTreeMap<u64, u32>>,
    draw: D,
    apply: A,
}

impl<D, A> Tagged<D, A>
where
    D: FnMut() -> u32 + Send,
    A: FnMut(&mut NewRequest, u32) + Send,
{
    /// `draw` makes a mark, `apply` puts it on a request. `follows` says whether any request
    /// follows another.
    pub fn new(source: Box<dyn RequestSource>, follows: bool, draw: D, apply: A) -> Tagged<D, A> {
        Tagged { source, under_way: follows.then(BTreeMap::new), draw, apply }
    }

    fn mark(&mut self, mut request: NewRequest, mark: u32) -> NewRequest {
        if let Some(under_way) = &mut self.under_way {
            under_way.insert(request.id, mark);
        }
        (self.apply)(&mut request, mark);
        request
    }
}

impl<D, A> RequestSource for Tagged<D, A>
where
    D: FnMut() -> u32 + Send,
    A: FnMut(&mut NewRequest, u32) + Send,
{
    fn next_request(&mut self) -> Option<NewRequest> {
        let request = self.source.next_request()?;
        let mark = (self.draw)();
        Some(self.mark(request, mark))
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let mark = self.under_way.as_mut().and_then(|under_way| under_way.remove(&id));
        let following = self.source.ended(id, finished, now)?;
        match mark {
            Some(mark) => Some(self.mark(following, mark)),
            None => Some(following),
        }
    }

    fn failure(&self) -> Option<&str> {
        self.source.failure()
    }
}

/// A source whose requests are changed each for itself.
pub(crate) struct Changed<A> {
    source: Box<dyn RequestSource>,
    apply: A,
}

impl<A: FnMut(&mut NewRequest) + Send> Changed<A> {
    /// `apply` changes a request.
    pub fn new(source: Box<dyn RequestSource>, apply: A) -> Changed<A> {
        Changed { source, apply }
    }
}

impl<A: FnMut(&mut NewRequest) + Send> RequestSource for Changed<A> {
    fn next_request(&mut self) -> Option<NewRequest> {
        let mut request = self.source.next_request()?;
        (self.apply)(&mut request);
        Some(request)
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let mut request = self.source.ended(id, finished, now)?;
        (self.apply)(&mut request);
        Some(request)
    }

    fn failure(&self) -> Option<&str> {
        self.source.failure()
    }
}

// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Waiting for more than one thing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// Whichever is done first; the first of the two if both are.
pub(crate) async fn race<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| match a.as_mut().poll(context) {
        Poll::Pending => b.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// Something that takes a while and may fail.
pub(crate) type Attempt<'a, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'a>>;

/// All of them, begun in this order; the first error ends it.
pub(crate) async fn all<E>(mut futures: Vec<Attempt<'_, E>>) -> Result<(), E> {
    poll_fn(|context| {
        let mut failed = None;
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if futures.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

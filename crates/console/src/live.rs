//! Live pages: each is rendered once when the data has changed, however many watch it.
//!
//! In: the address of a page, and the version that [`ConsoleData::changes`](crate::data::ConsoleData::changes) counts.
//! Out: the fragments that changed since a stream last sent. A slow client skips versions and is waited for by no other.
//! Start at [`LivePages::subscribe`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::address::PageAddress;
use crate::fragment::Fragment;

/// Renders a page's fragments.
pub(crate) type RenderPage = Arc<dyn Fn(PageAddress) -> BoxFuture<'static, Vec<Fragment>> + Send + Sync>;

/// A page as it stands: its fragments, and in which frame each changed last.
#[derive(Debug, Default)]
pub(crate) struct LiveFrame {
    /// Counts frames of this page, from 1.
    pub(crate) number: u64,
    pub(crate) fragments: Vec<(u64, Fragment)>,
}

impl LiveFrame {
    /// The frame after this one. `None` if nothing changed.
    fn next(&self, fragments: Vec<Fragment>) -> Option<Self> {
        let number = self.number + 1;
        let mut changed = self.fragments.len() != fragments.len();
        let fragments = fragments
            .into_iter()
            .map(|fragment| match self.fragments.iter().find(|(_, old)| *old == fragment) {
                Some((since, _)) => (*since, fragment),
                None => {
                    changed = true;
                    (number, fragment)
                }
            })
            .collect();
        changed.then_some(Self { number, fragments })
    }

    /// Fragments that changed after frame `number`.
    pub(crate) fn since(&self, number: u64) -> impl Iterator<Item = &Fragment> {
        self.fragments.iter().filter(move |(since, _)| *since > number).map(|(_, fragment)| fragment)
    }
}

/// A page that somebody watches. When the last of them is dropped, it is no longer rendered.
pub(crate) struct LivePage {
    frames: watch::Receiver<Arc<LiveFrame>>,
    unwatched: CancellationToken,
}

impl LivePage {
    /// Frames as they come; the first is there once the page was rendered for the first time.
    pub(crate) fn frames(&self) -> watch::Receiver<Arc<LiveFrame>> {
        self.frames.clone()
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        self.unwatched.cancel();
    }
}

/// All pages that are watched.
pub(crate) struct LivePages {
    pages: Mutex<HashMap<PageAddress, Weak<LivePage>>>,
    changes: watch::Receiver<u64>,
    render: RenderPage,
    stop: CancellationToken,
    max_pages: usize,
}

impl LivePages {
    pub(crate) fn new(
        changes: watch::Receiver<u64>,
        render: RenderPage,
        stop: CancellationToken,
        max_pages: usize,
    ) -> Self {
        Self { pages: Mutex::default(), changes, render, stop, max_pages }
    }

    /// The live page at `address`, shared by all who watch it. `None` if too many different pages are watched.
    pub(crate) fn subscribe(&self, address: &PageAddress) -> Option<Arc<LivePage>> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(address).and_then(Weak::upgrade) {
            return Some(page);
        }
        pages.retain(|_, page| page.strong_count() > 0);
        if pages.len() >= self.max_pages {
            return None;
        }
        let (frames, receiver) = watch::channel(Arc::default());
        let unwatched = self.stop.child_token();
        let page = Arc::new(LivePage { frames: receiver, unwatched: unwatched.clone() });
        pages.insert(address.clone(), Arc::downgrade(&page));
        tokio::spawn(keep_rendered(address.clone(), self.changes.clone(), self.render.clone(), frames, unwatched));
        Some(page)
    }
}

/// Renders now, and whenever the data changes.
async fn keep_rendered(
    address: PageAddress,
    mut changes: watch::Receiver<u64>,
    render: RenderPage,
    frames: watch::Sender<Arc<LiveFrame>>,
    unwatched: CancellationToken,
) {
    let rendering = async {
        loop {
            // Marked as seen before the data is read: what changes meanwhile causes another frame.
            changes.borrow_and_update();
            let fragments = render(address.clone()).await;
            let next = frames.borrow().next(fragments);
            if let Some(next) = next {
                frames.send_replace(Arc::new(next));
            }
            tokio::time::sleep(address.live_pause()).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    unwatched.run_until_cancelled(rendering).await;
}

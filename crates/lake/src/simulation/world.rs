//! A store whose requests take effect when the seed says, never, or long after the caller has stopped waiting.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::path::Path;
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::store::{Creation, LakeStore, StoreError};

#[derive(Debug, Default)]
pub(crate) struct World {
    random: u64,
    time: i64,
    next_request: u64,
    fault_percent: u32,
    objects: BTreeMap<Path, Bytes>,
    under_way: Vec<Request>,
    answers: HashMap<u64, Result<Answer, &'static str>>,
    /// Every object that was ever created, with the time at which it could first be seen.
    pub(crate) created: Vec<(i64, Path, Bytes)>,
    #[cfg(test)]
    pub(crate) fenced: u64,
    pub(crate) faults: u64,
    pub(crate) crashes: u64,
}

#[derive(Debug)]
struct Request {
    id: u64,
    call: Call,
    /// Its caller saw it fail; it may still land at any time.
    late: bool,
}

#[derive(Debug, Clone)]
enum Call {
    Create(Path, Bytes),
    Get(Path),
    List(Path, Option<Path>),
    Delete(Vec<Path>),
}

#[derive(Debug)]
enum Answer {
    Created(Creation),
    Found(Option<Bytes>),
    Listed(Vec<Path>),
    Deleted,
}

/// The world of one run. Cloning shares it.
#[derive(Debug, Clone)]
pub struct SharedWorld(Arc<Mutex<World>>);

impl World {
    /// splitmix64.
    fn roll(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// Takes one request off the way and decides its fate.
    fn take_effect(&mut self, at: usize) {
        let request = self.under_way.swap_remove(at);
        if request.late || u64::from(self.fault_percent) <= self.roll(100) {
            let answer = self.apply(request.call);
            if !request.late {
                self.answers.insert(request.id, Ok(answer));
            }
            return;
        }
        self.faults += 1;
        self.answers.insert(request.id, Err("no answer"));
        match self.roll(3) {
            // Done, and the answer is lost.
            0 => drop(self.apply(request.call)),
            // The request is lost.
            1 => {}
            // Taken for lost, it lands later.
            _ => self.under_way.push(Request { late: true, ..request }),
        }
    }

    fn apply(&mut self, call: Call) -> Answer {
        self.time += 1;
        match call {
            Call::Create(path, _) if self.objects.contains_key(&path) => Answer::Created(Creation::Exists),
            Call::Create(path, bytes) => {
                self.created.push((self.time, path.clone(), bytes.clone()));
                self.objects.insert(path, bytes);
                Answer::Created(Creation::Made)
            }
            Call::Get(path) => Answer::Found(self.objects.get(&path).cloned()),
            Call::List(folder, after) => {
                let from = Bound::Excluded(after.as_ref().unwrap_or(&folder));
                let below = |path: &&Path| path.as_ref().starts_with(folder.as_ref());
                let sorted = self.objects.range::<Path, _>((from, Bound::Unbounded)).map(|(path, _)| path);
                Answer::Listed(sorted.take_while(below).cloned().collect())
            }
            Call::Delete(paths) => {
                for path in paths {
                    self.objects.remove(&path);
                }
                Answer::Deleted
            }
        }
    }
}

impl SharedWorld {
    /// A world without objects.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World { random: seed, ..World::default() })))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }

    /// The seed's next number, below `below`.
    pub fn roll(&self, below: u64) -> u64 {
        self.get().roll(below)
    }

    pub(super) fn count_crash(&self) {
        self.get().crashes += 1;
    }

    pub(super) fn set_fault_percent(&self, percent: u32) {
        self.get().fault_percent = percent;
    }

    /// Lets one request take effect: mostly one that is waited for, now and then a late one.
    pub(super) fn some_request_takes_effect(&self) {
        let mut world = self.get();
        let wants_late = world.roll(25) == 0;
        let ready: Vec<usize> =
            (0..world.under_way.len()).filter(|at| world.under_way[*at].late == wants_late).collect();
        if !ready.is_empty() {
            let at = ready[world.roll(ready.len() as u64) as usize];
            world.take_effect(at);
        }
    }

    /// Lets all requests that are under way take effect.
    pub(crate) fn all_requests_take_effect(&self) {
        let mut world = self.get();
        while !world.under_way.is_empty() {
            let at = world.under_way.len() as u64;
            let at = world.roll(at) as usize;
            world.take_effect(at);
        }
    }

    fn ask(&self, call: Call) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let world = self.clone();
        let (operation, path) = match &call {
            Call::Create(path, _) => ("create", path.to_string()),
            Call::Get(path) => ("read", path.to_string()),
            Call::List(folder, _) => ("list", folder.to_string()),
            Call::Delete(_) => ("delete", String::new()),
        };
        let mut call = Some(call);
        let mut id = 0;
        let answer = poll_fn(move |context| {
            let mut world = world.get();
            if let Some(call) = call.take() {
                world.next_request += 1;
                id = world.next_request;
                world.under_way.push(Request { id, call, late: false });
            }
            match world.answers.remove(&id) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        });
        Box::pin(async move {
            answer.await.map_err(|why| StoreError { operation, path, retriable: true, source: why.into() })
        })
    }
}

#[derive(Debug)]
pub(crate) struct SimStore(pub(crate) SharedWorld);

impl LakeStore for SimStore {
    fn create(&self, path: &Path, bytes: Bytes) -> BoxFuture<'static, Result<Creation, StoreError>> {
        let answer = self.0.ask(Call::Create(path.clone(), bytes));
        Box::pin(async move {
            match answer.await? {
                Answer::Created(creation) => Ok(creation),
                other => unreachable!("{other:?}"),
            }
        })
    }

    fn get(&self, path: &Path) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        let answer = self.0.ask(Call::Get(path.clone()));
        Box::pin(async move {
            match answer.await? {
                Answer::Found(found) => Ok(found),
                other => unreachable!("{other:?}"),
            }
        })
    }

    fn get_range(&self, path: &Path, range: Range<u64>) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        let found = self.get(path);
        Box::pin(async move {
            Ok(found.await?.map(|bytes| {
                let end = (range.end as usize).min(bytes.len());
                bytes.slice((range.start as usize).min(end)..end)
            }))
        })
    }

    fn exists(&self, path: &Path) -> BoxFuture<'static, Result<bool, StoreError>> {
        let found = self.get(path);
        Box::pin(async move { Ok(found.await?.is_some()) })
    }

    fn list(&self, folder: &Path, after: Option<&Path>) -> BoxFuture<'static, Result<Vec<Path>, StoreError>> {
        let answer = self.0.ask(Call::List(folder.clone(), after.cloned()));
        Box::pin(async move {
            match answer.await? {
                Answer::Listed(listed) => Ok(listed),
                other => unreachable!("{other:?}"),
            }
        })
    }

    fn delete(&self, paths: Vec<Path>) -> BoxFuture<'static, Result<(), StoreError>> {
        let answer = self.0.ask(Call::Delete(paths));
        Box::pin(async move { answer.await.map(drop) })
    }
}

#[derive(Debug)]
pub(crate) struct SimClock(pub(crate) SharedWorld);

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        self.0.get().time
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        let mut slept = false;
        Box::pin(poll_fn(move |context| {
            if std::mem::replace(&mut slept, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn nonce(&self) -> String {
        let mut world = self.0.get();
        world.next_request += 1;
        format!("{:x}", world.next_request)
    }
}

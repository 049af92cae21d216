//! The only user of rayon: one private pool, entered once per forward pass.
//!
//! [`Pool::enter`] broadcasts one closure to the pool's threads. Thread 0, the leader, runs the caller's code in
//! ordinary sequential Rust; the others wait in a spin-then-yield loop for the regions that the leader opens with
//! [`Team::run`]. A region costs two flag hand-overs (well under a microsecond) instead of a wake-up.
//!
//! Invariants
//! * Work is split by rows or chunks only, never along a sum, so results do not depend on the number of threads.
//! * A region's closure outlives the region: `run` returns (or unwinds) only when every thread has left it.
//! * A panic in any thread poisons the team: barriers and the leader see it and unwind instead of hanging.
//! * One `enter` at a time per pool (a lock), so two forward passes can never wait on each other's threads.

mod parts;

use parts::Parts;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Pauses before a waiting thread yields, when each thread has a core of its own. On a machine that is busy with other
/// programs an early yield gives away the rest of the time slice at every region: measured beside a compiler on both
/// cores, 200 pauses generate 2.2 tokens/s where this generates 12.
const SPINS_PINNED: u32 = 5000;
/// The same when threads may share a core: there a long wait is taken from the thread that is waited for.
const SPINS_LOOSE: u32 = 200;

/// A value alone on its cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

type Job = *const (dyn Fn(&Worker<'_>) + Sync);

#[derive(Default)]
struct Shared {
    /// Pauses before a waiting thread yields.
    spins: u32,
    /// Number of the region that is open; followers start when it changes.
    epoch: Padded<AtomicUsize>,
    /// Followers still inside the open region.
    inside: Padded<AtomicUsize>,
    barrier: Padded<Barrier>,
    poisoned: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written by the leader only while no follower is inside a region, and read by followers only after
// they have seen the new epoch (release/acquire), so there is never a concurrent access to it.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer inside `job` is only dereferenced during the region that it belongs to.
unsafe impl Send for Shared {}

#[derive(Default)]
struct Barrier {
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

fn wait_until(most: u32, mut ready: impl FnMut() -> bool) {
    let mut spins = 0;
    while !ready() {
        if spins < most {
            spins += 1;
            spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// The threads of one engine.
pub struct Pool {
    pool: rayon::ThreadPool,
    threads: usize,
    spins: u32,
    entered: Mutex<()>,
}

impl Pool {
    /// A pool of `threads` threads (at least one), thread i pinned to `cpus[i]` where given.
    ///
    /// # Errors
    /// When the system refuses to start the threads.
    pub fn new(threads: usize, cpus: &[usize]) -> Result<Self, String> {
        let threads = threads.max(1);
        let spins = if cpus.len() >= threads { SPINS_PINNED } else { SPINS_LOOSE };
        let cpus = cpus.to_vec();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("lapwing-{i}"))
            .start_handler(move |i| {
                if let Some(&cpu) = cpus.get(i) {
                    crate::cores::pin_current_thread(cpu);
                }
            })
            .build()
            .map_err(|e| format!("cannot start {threads} threads: {e}"))?;
        Ok(Self { pool, threads, spins, entered: Mutex::new(()) })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `body` on thread 0 with `threads` threads (at most the pool's) at its disposal.
    ///
    /// # Panics
    /// Passes on a panic of `body` or of a region, after every thread has left.
    pub fn enter<R: Send>(&self, threads: usize, body: impl FnOnce(&Team<'_>) -> R + Send) -> R {
        let _one_at_a_time = self.entered.lock().unwrap_or_else(|e| e.into_inner());
        let threads = threads.clamp(1, self.threads);
        let shared = Shared { spins: self.spins, ..Shared::default() };
        let body = Mutex::new(Some(body));
        let result = Mutex::new(None);
        self.pool.broadcast(|ctx| match ctx.index() {
            0 => {
                let team = Team { shared: &shared, threads, leader_only: PhantomData };
                let body = body.lock().ok().and_then(|mut b| b.take());
                let outcome = body.map(|body| catch_unwind(AssertUnwindSafe(|| body(&team))));
                team.dismiss();
                if let Ok(mut r) = result.lock() {
                    *r = outcome;
                }
            }
            i if i < threads => follow(&shared, i, threads),
            _ => {}
        });
        match result.into_inner().unwrap_or_else(|e| e.into_inner()) {
            Some(Ok(r)) => r,
            Some(Err(panic)) => resume_unwind(panic),
            None => panic!("the thread pool did not run its leader"),
        }
    }
}

fn follow(shared: &Shared, index: usize, threads: usize) {
    let mut seen = 0;
    loop {
        wait_until(shared.spins, || shared.epoch.0.load(Ordering::Acquire) != seen);
        seen = shared.epoch.0.load(Ordering::Acquire);
        // SAFETY: the epoch changed (acquire), so the leader has finished writing `job` and will not touch it
        // until this thread has left the region.
        let Some(job) = (unsafe { *shared.job.get() }) else { return };
        let worker = Worker { index, threads, shared };
        // SAFETY: the leader keeps the closure alive until `inside` is zero, which this thread signals below.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(&worker) }));
        if let Err(panic) = outcome {
            shared.poison(panic);
        }
        shared.inside.0.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    fn poison(&self, panic: Box<dyn Any + Send>) {
        if let Ok(mut first) = self.panic.lock() {
            first.get_or_insert(panic);
        }
        self.poisoned.store(true, Ordering::Release);
    }
}

/// Marks a panic that only repeats another thread's.
struct Echo;

/// The leader's handle on the threads of one [`Pool::enter`]. Not `Sync`, so a region's closure, which must be, cannot
/// hold it: regions never nest, and only the leader opens them.
///
/// ```compile_fail
/// use lapwing_quant::threads::Pool;
/// Pool::new(2, &[]).unwrap().enter(2, |team| team.run(&|_| team.run(&|_| ())));
/// ```
pub struct Team<'p> {
    shared: &'p Shared,
    threads: usize,
    leader_only: PhantomData<Cell<()>>,
}

impl Team<'_> {
    /// How many threads take part in each region.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Opens a region: every thread runs `job` once; returns when all have.
    ///
    /// # Panics
    /// With the first panic of any thread.
    pub fn run(&self, job: &(dyn Fn(&Worker<'_>) + Sync)) {
        let me = Worker { index: 0, threads: self.threads, shared: self.shared };
        if self.threads == 1 {
            return job(&me);
        }
        // SAFETY: only the lifetime is erased; `run` does not return before every follower has left the region.
        let erased: Job = unsafe { std::mem::transmute::<*const (dyn Fn(&Worker<'_>) + Sync + '_), Job>(job) };
        // SAFETY: no region is open, so no follower reads `job` now.
        unsafe { *self.shared.job.get() = Some(erased) };
        self.shared.inside.0.store(self.threads - 1, Ordering::Relaxed);
        self.shared.epoch.0.fetch_add(1, Ordering::Release);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&me))) {
            self.shared.poison(panic);
        }
        wait_until(self.shared.spins, || self.shared.inside.0.load(Ordering::Acquire) == 0);
        if self.shared.poisoned.load(Ordering::Acquire) {
            let first = self.shared.panic.lock().ok().and_then(|mut p| p.take());
            resume_unwind(first.unwrap_or_else(|| Box::new("a thread of the team panicked")));
        }
    }

    /// Calls `f(i)` for every i below `n`, spread over the threads as they become free.
    pub fn each(&self, n: usize, f: impl Fn(usize) + Sync) {
        if n <= 1 || self.threads == 1 {
            return (0..n).for_each(f);
        }
        let next = AtomicUsize::new(0);
        self.run(&|_| {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= n {
                    break;
                }
                f(i);
            }
        });
    }

    /// Calls `f(i)` for every i below `n`: each thread begins with a part of its own, in order, and goes on with what
    /// others have left. For items that follow each other in memory.
    pub fn parts(&self, n: usize, f: impl Fn(usize) + Sync) {
        if n <= 1 || self.threads == 1 {
            return (0..n).for_each(f);
        }
        let parts = Parts::new(n, self.threads);
        self.run(&|worker| {
            while let Some(i) = parts.take(worker.index) {
                f(i);
            }
        });
    }

    /// Calls `f(i, row)` for every row of `width` values in `rows`, rows split over the threads.
    pub fn rows<T: Send>(&self, rows: &mut [T], width: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let n = rows.len().checked_div(width).unwrap_or(0);
        let base = SharedMut::new(rows);
        self.parts(n, |i| {
            // SAFETY: each i is handed out once, and rows of different i do not overlap.
            f(i, unsafe { base.slice(i * width..(i + 1) * width) });
        });
    }

    fn dismiss(&self) {
        if self.threads > 1 {
            // SAFETY: no region is open, so no follower reads `job` now.
            unsafe { *self.shared.job.get() = None };
            self.shared.epoch.0.fetch_add(1, Ordering::Release);
        }
    }
}

/// One thread inside a region.
pub struct Worker<'a> {
    /// 0 for the leader.
    pub index: usize,
    /// Threads in the region.
    pub threads: usize,
    shared: &'a Shared,
}

impl Worker<'_> {
    /// Waits until every thread of the region is here.
    ///
    /// # Panics
    /// When another thread of the region has panicked.
    pub fn barrier(&self) {
        if self.threads == 1 {
            return;
        }
        let b = &self.shared.barrier.0;
        let generation = b.generation.load(Ordering::Acquire);
        if b.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            b.arrived.store(0, Ordering::Relaxed);
            b.generation.fetch_add(1, Ordering::Release);
            return;
        }
        let poisoned = || self.shared.poisoned.load(Ordering::Acquire);
        wait_until(self.shared.spins, || b.generation.load(Ordering::Acquire) != generation || poisoned());
        if poisoned() {
            panic_any(Echo);
        }
    }

    /// This thread's share of `n` items: contiguous, sizes differing by at most one.
    pub fn share(&self, n: usize) -> Range<usize> {
        let (q, r) = (n / self.threads, n % self.threads);
        let start = self.index * q + self.index.min(r);
        start..start + q + usize::from(self.index < r)
    }
}

/// A mutable slice that several threads of a region write disjoint parts of.
pub(crate) struct SharedMut<T> {
    ptr: *mut T,
    len: usize,
}

// SAFETY: access goes through `slice`, whose callers promise disjoint ranges; T itself may move between threads.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len() }
    }

    /// The part `range`.
    ///
    /// # Safety
    /// No two live results may overlap, and the slice given to `new` must outlive them.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }

    /// Pointer to element `at`, which may be one past the end.
    pub(crate) fn at(&self, at: usize) -> *mut T {
        assert!(at <= self.len);
        // SAFETY: within (or one past) the allocation by the assertion.
        unsafe { self.ptr.add(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_barriers_see_each_others_writes() {
        for threads in [1, 2, 3, 5] {
            let pool = Pool::new(threads, &[]).unwrap();
            let total = pool.enter(threads, |team| {
                let mut sum = 0;
                for round in 0..200usize {
                    let cells: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                    let ok = AtomicUsize::new(0);
                    team.run(&|w| {
                        cells[w.index].store(round + w.index, Ordering::Relaxed);
                        w.barrier();
                        let seen: usize = cells.iter().map(|c| c.load(Ordering::Relaxed)).sum();
                        ok.fetch_add(
                            usize::from(seen == round * threads + threads * (threads - 1) / 2),
                            Ordering::Relaxed,
                        );
                    });
                    sum += ok.into_inner();
                }
                sum
            });
            assert_eq!(total, 200 * threads);
        }
    }

    #[test]
    fn shares_cover_everything_once() {
        let shared = Shared::default();
        for threads in 1..6 {
            for n in 0..20 {
                let all: Vec<usize> =
                    (0..threads).flat_map(|index| Worker { index, threads, shared: &shared }.share(n)).collect();
                assert_eq!(all, (0..n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_in_any_thread_ends_the_region_everywhere() {
        let pool = Pool::new(3, &[]).unwrap();
        for guilty in 0..3 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.enter(3, |team| {
                    team.run(&|w| {
                        assert!(w.index != guilty, "planted");
                        w.barrier();
                    });
                });
            }));
            assert!(caught.is_err());
            assert_eq!(pool.enter(3, |team| team.threads()), 3, "the pool works again");
        }
    }

    #[test]
    fn rows_are_each_visited_once() {
        let pool = Pool::new(2, &[]).unwrap();
        let mut data = vec![0u32; 7 * 5];
        pool.enter(2, |team| team.rows(&mut data, 5, |i, row| row.iter_mut().for_each(|v| *v += i as u32 + 1)));
        assert_eq!(data, (0..35).map(|i| i / 5 + 1).collect::<Vec<u32>>());
    }
}

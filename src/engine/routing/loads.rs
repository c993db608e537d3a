//! What routers see of the replicas, kept up to date as it changes.

/// Requests on each replica of the router's pool; replicas are numbered from 0 in it. A router that
/// keeps an index of its own asks which replicas changed since it last asked, so that a routing
/// decision never scans the cluster.
#[derive(Clone, Debug)]
pub struct Loads {
    waiting: Vec<u32>,
    running: Vec<u32>,
    changed: Vec<u32>,
    is_changed: Vec<bool>,
}

impl Loads {
    pub(super) fn new(replicas: u32) -> Loads {
        let n = replicas as usize;
        Loads {
            waiting: vec![0; n],
            running: vec![0; n],
            changed: Vec::with_capacity(n),
            is_changed: vec![false; n],
        }
    }

    /// Number of replicas.
    pub fn replicas(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Requests in the waiting queue of `replica`.
    pub fn waiting(&self, replica: u32) -> u32 {
        self.waiting[replica as usize]
    }

    /// Admitted requests of `replica` that have not ended.
    pub fn running(&self, replica: u32) -> u32 {
        self.running[replica as usize]
    }

    /// Waiting plus running requests of `replica`.
    pub fn outstanding(&self, replica: u32) -> u32 {
        self.waiting(replica) + self.running(replica)
    }

    /// The replicas whose counts changed since the last call, in the order of their first change.
    pub fn take_changed(&mut self, mut each: impl FnMut(&Loads, u32)) {
        let mut changed = std::mem::take(&mut self.changed);
        for &replica in &changed {
            self.is_changed[replica as usize] = false;
            each(self, replica);
        }
        changed.clear();
        self.changed = changed;
    }

    /// `false` if there would be fewer than none.
    pub(super) fn add_waiting(&mut self, replica: u32, change: i32) -> bool {
        let changed = change_by(&mut self.waiting[replica as usize], change);
        self.note(replica);
        changed
    }

    fn add_running(&mut self, replica: u32, change: i32) -> bool {
        let changed = change_by(&mut self.running[replica as usize], change);
        self.note(replica);
        changed
    }

    fn note(&mut self, replica: u32) {
        if !self.is_changed[replica as usize] {
            self.is_changed[replica as usize] = true;
            self.changed.push(replica);
        }
    }
}

/// Changes a count, unless it would be negative.
fn change_by(count: &mut u32, change: i32) -> bool {
    let changed = count.checked_add_signed(change);
    *count = changed.unwrap_or(*count);
    changed.is_some()
}

/// The loads of every pool. Here replicas bear their number in the cluster.
#[derive(Clone, Debug)]
pub(crate) struct PoolLoads {
    pools: Vec<Loads>,
    /// Pool of each replica and its number there.
    places: Vec<(u32, u32)>,
}

impl PoolLoads {
    /// The loads of pools with so many replicas.
    pub fn new(replicas: &[u32]) -> PoolLoads {
        let places = |(&n, pool)| (0..n).map(move |number| (pool, number));
        PoolLoads {
            pools: replicas.iter().map(|&n| Loads::new(n)).collect(),
            places: replicas.iter().zip(0..).flat_map(places).collect(),
        }
    }

    /// What the router of a pool sees.
    pub fn of(&mut self, pool: u32) -> &mut Loads {
        &mut self.pools[pool as usize]
    }

    /// Waiting and running requests of a replica.
    pub fn on(&self, replica: u32) -> (u32, u32) {
        let (pool, number) = self.places[replica as usize];
        let loads = &self.pools[pool as usize];
        (loads.waiting(number), loads.running(number))
    }

    /// `false` if there would be fewer than none.
    #[must_use]
    pub fn add_waiting(&mut self, replica: u32, change: i32) -> bool {
        let (pool, number) = self.places[replica as usize];
        self.of(pool).add_waiting(number, change)
    }

    /// `false` if there would be fewer than none.
    #[must_use]
    pub fn add_running(&mut self, replica: u32, change: i32) -> bool {
        let (pool, number) = self.places[replica as usize];
        self.of(pool).add_running(number, change)
    }
}

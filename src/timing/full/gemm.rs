//! Matrix products from measured ones.

use super::basis::{Cost, TimeBasis};
use super::samples::Samples;
use super::speed::{Speed, bound};
use crate::profile::operators::{Between, Dtype, GemmTable};

/// Farthest shape that a time is transferred from, in factors of two.
const REACH: f64 = 2.0;

/// Number of shapes that a time is transferred from.
const NEIGHBOURS: usize = 4;

/// All measured products of one type.
pub(super) struct Gemms {
    dtype: Dtype,
    speed: Speed,
    sites: Vec<Site>,
    largest: [f64; 2],
}

/// Products with one weight matrix.
#[derive(Clone)]
struct Site {
    n: f64,
    k: f64,
    by_m: Samples,
}

/// Products `[m, k] x [k, n]` for one weight matrix.
pub(super) struct Gemm {
    dtype: Dtype,
    speed: Speed,
    n: f64,
    k: f64,
    /// Ascending distance; one, at 0, if this matrix was measured.
    sites: Vec<(f64, Site)>,
    basis: TimeBasis,
}

impl Gemms {
    pub(super) fn new(table: &GemmTable, speed: Speed) -> Result<Gemms, String> {
        let rows = table.table.rows(2, Between::Linear)?;
        let sites: Vec<Site> = rows
            .into_iter()
            .map(|row| Site {
                n: f64::from(row.keys[0]),
                k: f64::from(row.keys[1]),
                by_m: Samples::new(row, Between::Linear),
            })
            .collect();
        let largest = sites.iter().fold([0.0_f64; 2], |[n, k], s| [n.max(s.n), k.max(s.k)]);
        Ok(Gemms { dtype: table.dtype, speed, sites, largest })
    }

    /// Products with a matrix of `k` rows and `n` columns.
    ///
    /// A matrix that was not measured takes the mean utilisation of the four nearest ones (in log2
    /// of N and K, weighted by 1 / distance^2). If none is near because one side, such as a
    /// vocabulary, is larger than everything measured, the nearest along that side are taken.
    pub(super) fn gemm(&self, n: u32, k: u32) -> Gemm {
        let (n, k) = (f64::from(n), f64::from(k));
        let gemm = |sites, basis| Gemm { dtype: self.dtype, speed: self.speed, n, k, sites, basis };
        if let Some(site) = self.sites.iter().find(|site| site.n == n && site.k == k) {
            return gemm(vec![(0.0, site.clone())], TimeBasis::Measured);
        }
        let (sites, basis) = self.neighbours(n, k);
        gemm(sites, basis)
    }

    /// Most rows that were measured with any matrix.
    pub(super) fn most_rows(&self) -> f64 {
        self.sites.iter().map(|site| site.by_m.last()).fold(0.0, f64::max)
    }

    /// The nearest other matrices, ascending by distance.
    fn neighbours(&self, n: f64, k: f64) -> (Vec<(f64, Site)>, TimeBasis) {
        let distance = |site: &Site| {
            let (dn, dk) = ((site.n / n).log2(), (site.k / k).log2());
            (dn * dn + dk * dk).sqrt()
        };
        let mut sites: Vec<(f64, &Site)> = self
            .sites
            .iter()
            .map(|site| (distance(site), site))
            .filter(|(d, _)| *d > 0.0)
            .collect();
        sites.sort_by(|a, b| a.0.total_cmp(&b.0));
        let near = sites.iter().take_while(|(distance, _)| *distance <= REACH).count();
        let basis = if near > 0 && n <= self.largest[0] && k <= self.largest[1] {
            TimeBasis::Transferred
        } else {
            TimeBasis::Extrapolated
        };
        // A few more than are used, since not all of them cover every M.
        let kept = near.clamp(NEIGHBOURS, 4 * NEIGHBOURS);
        (sites.into_iter().take(kept).map(|(d, site)| (d, site.clone())).collect(), basis)
    }

    /// Relative errors when each larger matrix is transferred from its neighbours.
    #[cfg(feature = "cli")]
    pub(super) fn transfer_errors(&self) -> Vec<f64> {
        let large = self.sites.iter().filter(|site| site.n >= 1024.0 && site.k >= 1024.0);
        large
            .flat_map(|site| {
                let (sites, basis) = self.neighbours(site.n, site.k);
                let (dtype, speed, n, k) = (self.dtype, self.speed, site.n, site.k);
                let gemm = Gemm { dtype, speed, n, k, sites, basis };
                let of = move |(m, us): (f64, f64)| gemm.cost(m).us / us - 1.0;
                site.by_m.points().map(of).collect::<Vec<f64>>()
            })
            .collect()
    }
}

impl Gemm {
    /// The time for `m` rows.
    pub(super) fn cost(&self, m: f64) -> Cost {
        if m <= 0.0 {
            return Cost::default();
        }
        let least = |m: f64, site: &Site| bound(self.speed.gemm(self.dtype, m, site.n, site.k));
        if let [(_, site)] = self.sites.as_slice() {
            let us = site.by_m.held(m, |m| least(m, site));
            let outside = !site.by_m.covers(m);
            return Cost { us, basis: if outside { TimeBasis::Extrapolated } else { self.basis } };
        }
        let (mut sum, mut weights, mut taken) = (0.0, 0.0, 0);
        for (distance, site) in self.sites.iter().filter(|(_, site)| site.by_m.covers(m)) {
            let weight = 1.0 / (distance * distance + 1e-12);
            sum += weight * least(m, site) / site.by_m.at(m);
            weights += weight;
            taken += 1;
            if taken == NEIGHBOURS {
                break;
            }
        }
        let own = bound(self.speed.gemm(self.dtype, m, self.n, self.k));
        if taken > 0 {
            return Cost { us: own * weights / sum, basis: self.basis };
        }
        // More rows than were measured with any of them.
        let held = self
            .sites
            .first()
            .map_or(1.0, |(_, site)| least(m, site) / site.by_m.held(m, |m| least(m, site)));
        Cost { us: own / held, basis: TimeBasis::Extrapolated }
    }
}

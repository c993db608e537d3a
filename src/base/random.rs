//! Seeded random streams, one per purpose, so that a new consumer of random numbers shifts no
//! other. Logarithms and exponentials come from `libm`: those of the standard library differ
//! between platforms in the last bit.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// One stream of random numbers.
///
/// ```
/// use vidur_ecs::base::RandomStream;
/// let mut arrivals = RandomStream::new(42, "arrivals");
/// let mut again = RandomStream::new(42, "arrivals");
/// assert_eq!(arrivals.uniform(), again.uniform());
/// ```
#[derive(Clone, Debug)]
pub struct RandomStream {
    pcg: Pcg64,
}

impl RandomStream {
    /// The stream of `purpose` under the run's `seed`.
    pub fn new(seed: u64, purpose: &str) -> RandomStream {
        // FNV-1a over the purpose, mixed with the seed by SplitMix64: both are fixed for ever,
        // unlike the standard library's hashers.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        RandomStream { pcg: Pcg64::seed_from_u64(split_mix(seed).wrapping_add(hash)) }
    }

    /// The seed of a part of a run, such as one of its models: what `name` draws does not depend
    /// on which other parts there are.
    pub fn seed_of(seed: u64, name: &str) -> u64 {
        match name {
            "" => seed,
            name => RandomStream::new(seed, name).pcg.next_u64(),
        }
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.pcg.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform among `0..n`, without bias. Zero for `n = 0`.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Lemire's method: multiply, then reject the few low products that would bias.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.pcg.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Normal with mean 0 and standard deviation 1 (Box-Muller; the second value is not kept, so
    /// that the stream has no hidden state).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(2.0 * self.exponential());
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// Gamma with the given shape and mean `shape` (scale 1). Marsaglia and Tsang, "A simple
    /// method for generating gamma variables", ACM TOMS 26(3), 2000.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(1.0 - self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            let u = 1.0 - self.uniform();
            if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }
}

fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(n: usize, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        (mean, variance)
    }

    #[test]
    fn moments_are_right() {
        let n = 200_000;
        let mut stream = RandomStream::new(7, "test");
        let (mean, variance) = mean_and_variance(n, || stream.exponential());
        assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03);
        let (mean, variance) = mean_and_variance(n, || stream.normal());
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02);
        for shape in [0.25, 1.0, 4.0] {
            let (mean, variance) = mean_and_variance(n, || stream.gamma(shape));
            assert!((mean / shape - 1.0).abs() < 0.02, "shape {shape}: mean {mean}");
            assert!((variance / shape - 1.0).abs() < 0.06, "shape {shape}: variance {variance}");
        }
        let (mean, _) = mean_and_variance(n, || stream.below(10) as f64);
        assert!((mean - 4.5).abs() < 0.05);
    }

    #[test]
    fn purposes_do_not_share_numbers() {
        let mut a = RandomStream::new(1, "arrivals");
        let mut b = RandomStream::new(1, "lengths");
        let mut c = RandomStream::new(2, "arrivals");
        let first = a.uniform();
        assert_ne!(first, b.uniform());
        assert_ne!(first, c.uniform());
    }
}

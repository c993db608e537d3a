//! How much of a model's passes a device's tables cover, and how well times carry over to
//! matrices that were not measured.

use super::gemm::Gemms;
use super::measured::MeasuredOperators;
use super::pass::Pass;
use super::speed::Speed;
use crate::hardware::Parallelism;
use crate::hardware::model::ModelSpec;
use crate::profile::Profile;
use crate::timing::{BatchShape, PrefillPart, StagePosition};

/// What the passes of a model rest on.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// Which tables are used.
    pub used: Vec<String>,
    /// What was measured on other layouts or shapes.
    pub warnings: Vec<String>,
    /// Typical batches.
    pub batches: Vec<CoveredBatch>,
}

/// What the pass of a batch rests on.
#[derive(Clone, Debug)]
pub struct CoveredBatch {
    /// The batch in words.
    pub about: String,
    /// Its time in milliseconds, without overheads.
    pub ms: f64,
    /// Shares of that which were measured, transferred from other shapes and extrapolated.
    pub shares: [f64; 3],
}

/// What passes of `model` rest on with `profile`'s operators.
///
/// # Errors
/// The profile has no operators of a device, or lacks some that the model needs.
pub fn coverage(
    profile: &Profile,
    model: &ModelSpec,
    parallel: Parallelism,
) -> Result<Coverage, String> {
    let tables = profile.operators.as_ref().ok_or("it holds no operators of a device")?;
    let mut source = MeasuredOperators::new(tables, None);
    let pass = Pass::new(&mut source, model, parallel)?;
    let stage = StagePosition { index: 0, count: parallel.pipeline };
    let part = |tokens, context| PrefillPart { tokens, context };
    let batches = [
        ("a prompt of 128 tokens", BatchShape::of(&[part(128, 0)], &[])),
        ("a prompt of 2048 tokens", BatchShape::of(&[part(2048, 0)], &[])),
        ("a prompt of 16384 tokens", BatchShape::of(&[part(16384, 0)], &[])),
        ("1 decode, context 1024", BatchShape::of(&[], &[1024])),
        ("64 decodes, context 1024", BatchShape::of(&[], &[1024; 64])),
        ("64 decodes, context 16384", BatchShape::of(&[], &[16384; 64])),
        ("256 decodes, context 1024", BatchShape::of(&[], &[1024; 256])),
        ("chunk of 512 on 1536, 64 decodes", BatchShape::of(&[part(512, 1536)], &[1024; 64])),
    ];
    let batches = batches.into_iter().map(|(about, batch)| {
        let all = pass.time(&batch, stage, 0.0).all;
        let shares = [all.measured, all.transferred, all.extrapolated];
        CoveredBatch {
            about: about.to_owned(),
            ms: all.total() * 1e-3,
            shares: shares.map(|us| us / all.total()),
        }
    });
    let batches = batches.collect();
    Ok(Coverage { used: source.used().to_vec(), warnings: source.warnings().to_vec(), batches })
}

/// Relative errors of matrix products when each matrix is left out in turn and its times are
/// transferred from its neighbours; only matrices with both sides of at least 1024.
///
/// # Errors
/// A table is malformed.
pub fn transfer_errors(profile: &Profile) -> Result<Vec<f64>, String> {
    let mut errors = Vec::new();
    if let Some(tables) = &profile.operators {
        for table in &tables.gemm {
            errors.extend(Gemms::new(table, Speed::new(&tables.peak))?.transfer_errors());
        }
    }
    Ok(errors)
}

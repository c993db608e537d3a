//! A family's layers, one by one, from what its config says.

use super::kinds::Kind;
use super::sparsity::{self, Mlp};
use super::{Family, HeadNorms, kinds};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::parts::Heads;
use crate::hardware::model::layers::{Layer, Matrix, Reach, Split, uniform};

/// What a layer is made from.
pub(in crate::hardware::model) struct Context<'a> {
    pub keys: &'a Keys<'a>,
    pub family: &'a Family,
    pub spec: &'a ModelSpec,
}

impl Context<'_> {
    /// Attention of the shape that the config has for all layers.
    pub fn heads(&self, reach: Reach) -> Heads {
        Heads {
            hidden: self.spec.hidden.into(),
            q: self.spec.q_heads,
            kv: self.spec.kv_heads,
            key_dim: self.spec.head_dim,
            value_dim: self.spec.head_dim,
            reach,
            gated_queries: false,
            own_cache: true,
        }
    }

    /// Width of the model.
    pub fn hidden(&self) -> u64 {
        self.spec.hidden.into()
    }
}

/// The mixer of a layer: adds it to the layer, whose norms and biases are counted already.
pub(in crate::hardware::model) type AddMixer =
    fn(&Context, u32, Kind, &mut Layer) -> Result<(), Box<Diagnostic>>;

/// Attention whose output is gated before it is projected: by a matrix of as many rows as queries
/// have elements, or heads.
pub(in crate::hardware::model) fn gated_attention(
    context: &Context,
    per_head: bool,
    heads: Heads,
    layer: &mut Layer,
) {
    let (q, dim) = (heads.q, heads.value_dim);
    layer.add_attention("self_attn", heads);
    let (rows, unit) = if per_head { (q, 1) } else { (q.saturating_mul(dim), dim) };
    let gate = Matrix::new("self_attn.gate_proj", rows.into(), context.hidden());
    layer.add(gate.split(Split::Rows(unit)));
}

/// Attention, where the family has nothing else.
pub(in crate::hardware::model) fn attention(
    context: &Context,
    _: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    match kind {
        Kind::Attention(reach) => layer.add_attention("self_attn", context.heads(reach)),
        _ => {
            let key = context.keys.written(&["layer_types", "layers_block_type"]);
            context.keys.not_modelled(key, "layers of kinds that this family is not known for");
        }
    }
    Ok(())
}

/// The layers of a model, in order.
///
/// # Errors
/// A key makes no sense.
pub(in crate::hardware::model) fn layers(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Layer>, Box<Diagnostic>> {
    let context = Context { keys, family, spec };
    let kinds = (family.kinds)(keys, family, spec)?;
    let mlps = sparsity::by_keys(keys, spec)?;
    let alike = uniform(spec);
    let mut layers = Vec::with_capacity(kinds.len());
    for ((index, kind), mlp) in (0_u32..).zip(&kinds).zip(&mlps) {
        let mut layer = Layer { vectors: alike.vectors, ..Layer::default() };
        if !matches!(kind, Kind::Attention(_)) {
            layer.vectors -= attention_vectors(&context);
        }
        if !matches!(kind, Kind::Mlp | Kind::Moe) {
            (family.mixer)(&context, index, *kind, &mut layer)?;
        }
        match (kind, mlp) {
            _ if family.alone => {
                let dense = Mlp::Dense(spec.intermediate);
                match kind {
                    Kind::Mlp => sparsity::add(&mut layer, dense, family, spec),
                    Kind::Moe => sparsity::add(&mut layer, *mlp, family, spec),
                    _ => {}
                }
            }
            (_, mlp) => sparsity::add(&mut layer, *mlp, family, spec),
        }
        (family.finish)(&context, index, &mut layer)?;
        layers.push(layer);
    }
    Ok(layers)
}

/// Biases of attention, and norms of its queries and keys.
fn attention_vectors(context: &Context) -> u64 {
    let Context { keys, family, spec } = context;
    let dim = u64::from(spec.head_dim);
    let heads = u64::from(spec.q_heads) + u64::from(spec.kv_heads);
    let norms = match family.vectors.head_norms.read(keys) {
        HeadNorms::Whole => heads * dim,
        _ if spec.qk_norm => 2 * dim,
        _ => 0,
    };
    let inputs = if spec.qkv_bias { (heads + u64::from(spec.kv_heads)) * dim } else { 0 };
    let output = family.vectors.output_bias.read(keys);
    norms + inputs + if output { context.hidden() } else { 0 }
}

/// All layers are as a mixer of its own has it, whatever the keys say.
pub(in crate::hardware::model) fn all_linear(
    _: &Keys,
    _: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    Ok(kinds::every(spec.layers, |_| false))
}

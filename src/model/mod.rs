//! Models: immutable weights and the forward pass over a batch. State (cache, scratch) is always the caller's.
//!
//! [`config`] reads and checks a file's hyperparameters; [`rope`] computes rotation tables; [`weights`] loads matrices
//! and norms by their names in the file; [`attention`], [`ffn`] are the halves of a block; [`qwen3`] is the model;
//! [`observe`] lets somebody watch what the matrices are multiplied with.
//!
//! To add an architecture: a file here, and its name in [`config::Arch`].

pub mod attention;
pub mod config;
pub mod ffn;
pub mod observe;
pub mod qwen3;
pub mod rope;
pub mod weights;

pub use config::Config;
pub use observe::{Input, Observe};
pub use qwen3::{LoadOptions, Qwen3, Scratch};

use lapwing_quant::acts::ActKinds;
use lapwing_quant::kernels::Kernels;
use lapwing_quant::threads::Team;

/// What every part of a forward pass needs to compute.
#[derive(Clone, Copy)]
pub struct Compute<'a> {
    /// The threads.
    pub team: &'a Team<'a>,
    /// The kernels.
    pub kernels: &'static Kernels,
    /// Who watches, if anybody does.
    pub observe: Option<&'a dyn Observe>,
    /// The block at work; none before and behind them.
    pub layer: Option<usize>,
}

impl Compute<'_> {
    /// The forms of activations to make where these are read: an observer sees the values, too.
    fn forms(&self, kinds: ActKinds) -> ActKinds {
        ActKinds { x: kinds.x || self.observe.is_some(), ..kinds }
    }
}

//! Rotary positions: plain, linear and YaRN scaling, from a file's metadata and from flags with llama.cpp's names.
//!
//! The numbers are computed as transformers computes them (`_compute_yarn_parameters`; paper: arXiv 2309.00071): the
//! inverse frequencies in f32 steps, the ramp between floor and ceiling of the correction range, and the attention
//! factor multiplied into cosines and sines.

use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// How positions are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// All frequencies divided by the factor.
    Linear,
    /// High frequencies kept, low ones divided, between them a ramp.
    Yarn,
}

impl Scaling {
    /// Parses `none`, `linear` or `yarn`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "linear" => Some(Self::Linear),
            "yarn" => Some(Self::Yarn),
            _ => None,
        }
    }

    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Linear => "linear",
            Self::Yarn => "yarn",
        }
    }
}

/// What the user says about rotation; each overrides the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RopeFlags {
    /// `--rope-scaling`
    pub scaling: Option<Scaling>,
    /// `--rope-scale`: the factor.
    pub scale: Option<f64>,
    /// `--rope-freq-base`
    pub freq_base: Option<f64>,
    /// `--yarn-orig-ctx`
    pub orig_ctx: Option<usize>,
    /// `--yarn-ext-factor`
    pub ext_factor: Option<f64>,
    /// `--yarn-attn-factor`
    pub attn_factor: Option<f64>,
    /// `--yarn-beta-fast`
    pub beta_fast: Option<f64>,
    /// `--yarn-beta-slow`
    pub beta_slow: Option<f64>,
}

/// Rotation of one model, settled.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Base of the frequencies.
    pub freq_base: f64,
    /// Kind of scaling.
    pub scaling: Scaling,
    /// By how much the context is stretched; 1 without scaling.
    pub factor: f64,
    /// Context before stretching.
    pub orig_ctx: usize,
    /// Multiplier of cosines and sines.
    pub attention_factor: f64,
    /// Radians per position of each pair.
    inv_freq: Vec<f32>,
}

impl Rope {
    /// Settles file and flags.
    pub(crate) fn read(gguf: &Gguf, arch: &str, head_dim: usize, n_ctx: usize, flags: &RopeFlags) -> Result<Self> {
        let meta = gguf.meta();
        let float = |key: &str| meta.float(&format!("{arch}.rope.{key}"));
        let of_file = match meta.str(&format!("{arch}.rope.scaling.type"))? {
            Some(t) => Some(Scaling::parse(t).ok_or_else(|| {
                Error::unsupported(format!(
                    "{}: {arch}.rope.scaling.type is '{t}', expected none, linear or yarn",
                    gguf.path().display()
                ))
            })?),
            None => None,
        };
        if let Some(n) = meta.size(&format!("{arch}.rope.dimension_count"))?
            && n != head_dim
        {
            let what = format!("{arch}.rope.dimension_count is {n}, expected the head size {head_dim}");
            return Err(Error::unsupported(format!("{}: {what}", gguf.path().display())));
        }
        let file_factor = float("scaling.factor")?.or(float("scale_linear")?);
        let scaling = flags.scaling.or(of_file).unwrap_or(match file_factor.or(flags.scale) {
            Some(f) if f != 1.0 => Scaling::Linear,
            _ => Scaling::None,
        });
        let factor = if scaling == Scaling::None { 1.0 } else { flags.scale.or(file_factor).unwrap_or(1.0) };
        let orig_ctx = flags.orig_ctx.or(meta.size(&format!("{arch}.rope.scaling.original_context_length"))?);
        let pick =
            |flag: Option<f64>, key: &str, default: f64| Ok::<f64, Error>(flag.or(float(key)?).unwrap_or(default));
        let yarn = Yarn {
            ext_factor: flags.ext_factor.filter(|&f| f >= 0.0).or(float("scaling.yarn_ext_factor")?).unwrap_or(1.0),
            attn_factor: pick(
                flags.attn_factor,
                "scaling.yarn_attn_factor",
                float("scaling.attn_factor")?.unwrap_or(1.0),
            )?,
            beta_fast: pick(flags.beta_fast, "scaling.yarn_beta_fast", 32.0)?,
            beta_slow: pick(flags.beta_slow, "scaling.yarn_beta_slow", 1.0)?,
        };
        let freq_base = flags.freq_base.or(float("freq_base")?).unwrap_or(10_000.0);
        Self::new(head_dim, freq_base, scaling, factor, orig_ctx.unwrap_or(n_ctx), yarn)
            .map_err(|e| e.context(gguf.path().display().to_string()))
    }

    fn new(
        head_dim: usize,
        freq_base: f64,
        scaling: Scaling,
        factor: f64,
        orig_ctx: usize,
        yarn: Yarn,
    ) -> Result<Self> {
        if !(freq_base > 1.0 && freq_base.is_finite()) {
            return Err(Error::usage(format!("RoPE frequency base {freq_base}, expected a number above 1")));
        }
        if !(factor > 0.0 && factor.is_finite()) || orig_ctx == 0 {
            return Err(Error::usage(format!(
                "RoPE factor {factor} over a context of {orig_ctx}; both must be positive"
            )));
        }
        let half = head_dim / 2;
        let plain = |i: usize| 1.0 / (freq_base as f32).powf((2 * i) as f32 / head_dim as f32);
        let inv_freq: Vec<f32> = match scaling {
            Scaling::None => (0..half).map(plain).collect(),
            Scaling::Linear => (0..half).map(|i| plain(i) / factor as f32).collect(),
            Scaling::Yarn => {
                let ramp = yarn.ramp(head_dim, freq_base, orig_ctx);
                let mix = |i: usize| {
                    let keep = (1.0 - ramp(i)) * yarn.ext_factor as f32;
                    plain(i) / factor as f32 * (1.0 - keep) + plain(i) * keep
                };
                (0..half).map(mix).collect()
            }
        };
        let stretch = if scaling == Scaling::Yarn && factor > 1.0 && yarn.ext_factor != 0.0 {
            0.1 * factor.ln() + 1.0
        } else {
            1.0
        };
        let attention_factor = if scaling == Scaling::Yarn { stretch * yarn.attn_factor } else { 1.0 };
        Ok(Self { freq_base, scaling, factor, orig_ctx, attention_factor, inv_freq })
    }

    /// The longest context: the file's, or the stretched original one when that is longer.
    pub fn max_context(&self, n_ctx_train: usize) -> usize {
        let stretched = self.orig_ctx as f64 * self.factor;
        n_ctx_train.max(if self.scaling == Scaling::None { 0 } else { stretched as usize })
    }

    /// `[positions, head_dim / 2]` cosines and sines.
    pub fn tables(&self, positions: &[usize], cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        cos.clear();
        sin.clear();
        let by = self.attention_factor as f32;
        for &p in positions {
            for &f in &self.inv_freq {
                let angle = f64::from(p as f32 * f);
                cos.push(angle.cos() as f32 * by);
                sin.push(angle.sin() as f32 * by);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Yarn {
    ext_factor: f64,
    attn_factor: f64,
    beta_fast: f64,
    beta_slow: f64,
}

impl Yarn {
    /// 0 where frequencies are kept, 1 where they are divided.
    fn ramp(self, head_dim: usize, base: f64, orig_ctx: usize) -> impl Fn(usize) -> f32 {
        let dim = head_dim as f64;
        let turns_at = |turns: f64| dim * (orig_ctx as f64 / (turns * std::f64::consts::TAU)).ln() / (2.0 * base.ln());
        let low = turns_at(self.beta_fast).floor().max(0.0);
        let high = turns_at(self.beta_slow).ceil().min(dim - 1.0);
        let high = if low == high { high + 0.001 } else { high };
        move |i| (((i as f64 - low) / (high - low)) as f32).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Yarn = Yarn { ext_factor: 1.0, attn_factor: 1.0, beta_fast: 32.0, beta_slow: 1.0 };

    #[test]
    fn yarn_keeps_fast_pairs_and_divides_slow_ones() {
        let plain = Rope::new(128, 1e6, Scaling::None, 1.0, 32768, PLAIN).unwrap();
        let yarn = Rope::new(128, 1e6, Scaling::Yarn, 4.0, 32768, PLAIN).unwrap();
        assert_eq!(plain.inv_freq[0], yarn.inv_freq[0]);
        assert!((yarn.inv_freq[63] * 4.0 - plain.inv_freq[63]).abs() < 1e-12);
        assert!((yarn.attention_factor - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        assert_eq!(yarn.max_context(32768), 131_072);
        assert_eq!(plain.max_context(40960), 40960);
    }

    #[test]
    fn linear_scaling_is_a_slower_clock() {
        let plain = Rope::new(64, 1e4, Scaling::None, 1.0, 2048, PLAIN).unwrap();
        let linear = Rope::new(64, 1e4, Scaling::Linear, 2.0, 2048, PLAIN).unwrap();
        let (mut a, mut b, mut s) = (Vec::new(), Vec::new(), Vec::new());
        plain.tables(&[3, 5], &mut a, &mut s);
        linear.tables(&[6, 10], &mut b, &mut s);
        assert!(a.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-6));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Rope::new(64, 0.5, Scaling::None, 1.0, 2048, PLAIN).is_err());
        assert!(Rope::new(64, f64::NAN, Scaling::None, 1.0, 2048, PLAIN).is_err());
        assert!(Rope::new(64, 1e4, Scaling::Yarn, -1.0, 2048, PLAIN).is_err());
    }
}

//! Loops that do nothing but multiply and add: how fast an instruction set is when nothing is loaded or stored.
//! [`crate::probe::peaks`] times them.
//!
//! Each keeps [`CHAINS`] sums in registers, each of which waits only for itself; that is enough to hide the latency of a
//! multiply-add behind the others. The int8 loop is the instruction that the table's integer tiles are built on,
//! the bf16 loop that of its matrix unit. A table without an entry here has no figure; a test says so.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Sums side by side: with one more register for the factor they fit the 16 of AVX2.
const CHAINS: usize = 14;

/// Runs so many rounds; returns the multiply-adds that were done. Unsafe because it needs its instruction set.
pub(crate) type Loop = unsafe fn(u64) -> u64;

/// The loops of one table, by its name: who holds a table has its instruction set.
pub(crate) struct Entry {
    /// The table's name.
    pub table: &'static str,
    /// bfloat16 in a matrix unit, where the table has one for prompts.
    pub bf16: Option<Loop>,
    /// Bytes summed in integers; `None` where the table multiplies floats only.
    pub int8: Option<Loop>,
    /// f32.
    pub f32: Loop,
}

/// Every table's loops.
pub(crate) const ENTRIES: &[Entry] = &[
    #[cfg(target_arch = "x86_64")]
    Entry { table: "amx", bf16: Some(x86::amx_bf16), int8: Some(x86::avx512_int8), f32: x86::avx512_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avx512", bf16: None, int8: Some(x86::avx512_int8), f32: x86::avx512_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avxvnni", bf16: None, int8: Some(x86::avxvnni_int8), f32: x86::avx2_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avx2", bf16: None, int8: Some(x86::avx2_int8), f32: x86::avx2_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon-i8mm", bf16: None, int8: Some(arm::i8mm_int8), f32: arm::neon_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon-dotprod", bf16: None, int8: Some(arm::dotprod_int8), f32: arm::neon_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon", bf16: None, int8: Some(arm::neon_int8), f32: arm::neon_f32 },
    Entry { table: "scalar", bf16: None, int8: None, f32: plain::f32 },
];

/// Defines a [`Loop`]: so many multiply-adds in each step of each sum.
macro_rules! chains {
    ($name:ident, [$($attr:meta)?], macs = $macs:literal, start = $start:expr, |$sum:ident, $by:ident| $step:expr) => {
        $(#[$attr])?
        pub(super) fn $name(rounds: u64) -> u64 {
            let $by = std::hint::black_box($start);
            let mut sums = [$by; crate::kernels::peak::CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    let $sum = *sum;
                    *sum = $step;
                }
            }
            std::hint::black_box(sums);
            rounds * crate::kernels::peak::CHAINS as u64 * $macs
        }
    };
}
use chains;

mod plain {
    // The sums stay at one.
    super::chains!(f32, [], macs = 4, start = [0.5f32; 4], |s, by| std::array::from_fn(|l| s[l] * by[l] + by[l]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_loops() {
        for (name, _) in crate::kernels::known() {
            assert!(ENTRIES.iter().any(|e| e.table == name), "{name} needs an entry in kernels/peak.rs");
        }
    }

    #[test]
    fn the_work_of_a_loop_is_counted() {
        assert_eq!(plain::f32(10), 10 * CHAINS as u64 * 4);
    }
}

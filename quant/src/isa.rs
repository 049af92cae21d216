//! The instruction sets that kernels exist for, by the names users force them with.
//!
//! A name stands for a whole kernel table; [`crate::kernels::Kernels`] values are only handed out for sets that this
//! machine has, so holding a table is the proof that its functions may be called.

/// Whether this machine can run AVX2 with FMA and f16 conversion.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

/// Whether this machine can run AVX-VNNI, and all of AVX2.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avxvnni() -> bool {
    has_avx2() && std::arch::is_x86_feature_detected!("avxvnni")
}

/// Whether this machine can run AVX-512 F, BW, VL and VNNI, and all of AVX2.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// Whether this machine can run NEON; every 64-bit Arm that this program is compiled for does.
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Whether this machine can run NEON with the int8 dot product.
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_neon_dotprod() -> bool {
    has_neon() && std::arch::is_aarch64_feature_detected!("dotprod")
}

/// Whether this machine can run NEON with the int8 dot product and the int8 matrix product.
#[cfg(target_arch = "aarch64")]
pub(crate) fn has_neon_i8mm() -> bool {
    has_neon_dotprod() && std::arch::is_aarch64_feature_detected!("i8mm")
}

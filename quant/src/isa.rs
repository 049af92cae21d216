//! The instruction sets that kernels exist for, by the names users force them with.
//!
//! A name stands for a whole kernel table; [`crate::kernels::Kernels`] values are only handed out for sets that this
//! machine has, so holding a table is the proof that its functions may be called.

/// Whether this machine can run AVX2 with FMA and f16 conversion.
pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether this machine can run AVX-512 F, BW, VL and VNNI (and all of AVX2).
pub(crate) fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether this machine is an Arm with NEON (all 64-bit ones are).
pub(crate) fn has_neon() -> bool {
    cfg!(target_arch = "aarch64")
}

/// Whether this machine is an Arm with the int8 dot product.
pub(crate) fn has_neon_dotprod() -> bool {
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(target_arch = "aarch64"))]
    false
}

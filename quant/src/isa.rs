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

/// Whether this machine has a matrix unit for bfloat16, and AVX-512 with it, and this process may use it. Asks the system
/// for it; calls after the first change nothing.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_amx() -> bool {
    has_avx512() && has_tiles() && tiles_permitted()
}

/// Tile registers and their bf16 products, and a system that saves them.
#[cfg(target_arch = "x86_64")]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const TILE_STATE: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: the caller has seen that the system uses XSAVE.
        unsafe { _xgetbv(0) }
    }
    let uses_xsave = __cpuid(1).ecx & 1 << 27 != 0;
    if !uses_xsave || __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & BF16_AND_TILE != BF16_AND_TILE {
        return false;
    }
    // SAFETY: XSAVE is in use.
    unsafe { saved() & TILE_STATE == TILE_STATE }
}

/// Linux gives a process the tile registers when it asks for them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XTILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and changes nothing but what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles_permitted() -> bool {
    false
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

//! The emulator by itself: instructions in all their encodings, what they compute, what they refuse.

use super::state::{Fault, Unit};
use super::*;
use crate::kernels::avx512::amx::unit;
use std::arch::asm;

/// Whether the instructions can run here, natively or not.
fn runs() -> bool {
    let native = crate::isa::has_amx();
    if !native {
        install();
    }
    eprintln!("the matrix unit is {}", if native { "native" } else { "emulated" });
    true
}

/// Palette 1 with so many lines and bytes for each tile.
fn config(tiles: [(u8, u16); 8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (i, (lines, columns)) in tiles.into_iter().enumerate() {
        bytes[16 + 2 * i..18 + 2 * i].copy_from_slice(&columns.to_le_bytes());
        bytes[48 + i] = lines;
    }
    bytes
}

fn bf16(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect()
}

/// Loads a tile by one instruction from `at` + 3 * 64 bytes on, lines `stride` apart, and stores it by another.
macro_rules! through {
    ($at:expr, $stride:expr, $load:literal, $base:tt, $index:tt) => {{
        let mut out = [0xa5u8; 1024];
        // SAFETY: the tile's lines are inside `at` (the caller's) and `out`.
        unsafe {
            asm!(
                $load,
                "tilestored [{out} + {line}*1], tmm3",
                in($base) $at, in($index) $stride, out = in(reg) out.as_mut_ptr(), line = in(reg) 64usize,
                out("tmm3") _, options(nostack),
            );
        }
        out
    }};
}

#[test]
fn tiles_are_loaded_and_stored_by_any_address() {
    assert!(runs());
    let bytes: Vec<u8> = (0..64 << 10).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let at = bytes.as_ptr();
    let lines = |first: usize, stride: usize| -> Vec<u8> {
        (0..16).flat_map(|i| bytes[first + i * stride..][..64].iter().copied()).collect()
    };
    // SAFETY: the unit is there, or emulated.
    unsafe { unit::configure() };
    let found = through!(at, 64usize, "tileloadd tmm3, [rcx + rdx*1]", "rcx", "rdx");
    assert!(found[..] == lines(0, 64)[..]);
    let found = through!(at, 80usize, "tileloaddt1 tmm3, [r8 + r9*4 + 100]", "r8", "r9");
    assert!(found[..] == lines(100, 320)[..], "a short displacement, lines 4 * 80 apart");
    let found = through!(at.wrapping_add(500), 128usize, "tileloadd tmm3, [r13 + r14*8 - 72]", "r13", "r14");
    assert!(found[..] == lines(428, 1024)[..], "a displacement below zero; r13 always has one");
    let found = through!(at, 33usize, "tileloadd tmm3, [r12 + r15*2 + 1000]", "r12", "r15");
    assert!(found[..] == lines(1000, 66)[..], "a long displacement");
    let found = through!(at, 0usize, "tileloadd tmm3, [rdi + rsi*1 + 7]", "rdi", "rsi");
    assert!(found[..] == lines(7, 0)[..], "one line 16 times");
    // SAFETY: as above.
    unsafe { unit::release() };
}

#[test]
fn smaller_tiles_leave_the_rest_alone() {
    assert!(runs());
    let setting = config([(3, 12), (0, 0), (0, 0), (3, 12), (0, 0), (0, 0), (0, 0), (0, 0)]);
    let bytes: Vec<u8> = (0..=255).collect();
    let mut out = [0xa5u8; 1024];
    // SAFETY: the unit is there, or emulated; three lines of twelve bytes are inside both.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tileloadd tmm3, [{at} + {stride}*1]",
            "tilestored [{out} + {line}*1], tmm3",
            "tilezero tmm3",
            "tilestored [{out} + {line}*1 + 512], tmm3",
            "tilerelease",
            config = in(reg) setting.as_ptr(), at = in(reg) bytes.as_ptr(), stride = in(reg) 40usize,
            out = in(reg) out.as_mut_ptr(), line = in(reg) 64usize, out("tmm3") _, options(nostack),
        );
    }
    let mut expected = [0xa5u8; 1024];
    for i in 0..3 {
        expected[64 * i..][..12].copy_from_slice(&bytes[40 * i..][..12]);
        expected[512 + 64 * i..][..12].fill(0);
    }
    assert!(out == expected);
}

/// One product of tiles: sums with one line of two columns, so many pairs.
fn multiply(a: &[f32], b: &[[f32; 2]], sums: [f32; 2]) -> [f32; 2] {
    let pairs = a.len() / 2;
    let (b_lines, a_bytes) = (pairs as u8, 4 * pairs as u16);
    let setting = config([(1, 8), (1, a_bytes), (b_lines, 8), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)]);
    // Line k has elements 2k and 2k + 1 of both columns.
    let b = bf16(b.chunks(2).flat_map(|pair| [pair[0][0], pair[1][0], pair[0][1], pair[1][1]]));
    let (a, mut sums) = (bf16(a.iter().copied()), sums);
    // SAFETY: the unit is there, or emulated; the operands have the configured sizes.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tileloadd tmm0, [{sums} + {line}*1]",
            "tileloadd tmm1, [{a} + {line}*1]",
            "tileloadd tmm2, [{b} + {short}*1]",
            "tdpbf16ps tmm0, tmm1, tmm2",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilerelease",
            config = in(reg) setting.as_ptr(), sums = in(reg) sums.as_mut_ptr(), a = in(reg) a.as_ptr(),
            b = in(reg) b.as_ptr(), line = in(reg) 64usize, short = in(reg) 8usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, options(nostack),
        );
    }
    sums
}

#[test]
fn products_are_summed_in_the_unit_s_order() {
    assert!(runs());
    let big = 16_777_216.0;
    assert_eq!(multiply(&[2.0, 3.0], &[[5.0, 7.0], [11.0, 13.0]], [0.5, -0.5]), [43.5, 52.5]);
    // Even elements are summed first: there, the one is lost in 2^24 and comes back with it taken away; the odd ones are
    // apart, and the old sum comes last.
    let one = [1.0, 1.0];
    assert_eq!(multiply(&[big, 0.0, 1.0, 0.0, -big, 0.0], &[one; 6], [0.0; 2]), [0.0; 2]);
    assert_eq!(multiply(&[big, 1.0, -big, 0.0], &[one; 4], [0.0; 2]), [1.0; 2]);
    assert_eq!(multiply(&[1.0, 1.0], &[one; 2], [big, -big]), [big + 2.0, 2.0 - big]);
    assert_eq!(multiply(&[1.0, 0.0], &[one; 2], [big, -big]), [big, 1.0 - big], "to nearest even");
    // A product is not rounded before it is added.
    let (x, y) = (1.0 + 1.0 / 128.0, 3.0 - 1.0 / 64.0);
    assert_eq!(multiply(&[x, 0.0, x, 0.0], &[[y; 2], one, [-y; 2], one], [0.0; 2]), [0.0; 2]);
    // Denormal numbers are zero.
    let tiny = f32::MIN_POSITIVE;
    assert_eq!(multiply(&[tiny / 2.0, 0.0], &[[big; 2], one], [1e-40, 1.0]), [0.0, 1.0]);
    assert_eq!(multiply(&[tiny, 0.0], &[[0.5; 2], one], [0.0; 2]), [0.0; 2]);
}

#[test]
fn what_the_unit_refuses_is_refused() {
    let whole = (16, 64);
    let refused = |setting: [u8; 64]| {
        let mut unit = Unit::RELEASED;
        unit.configure(&setting).unwrap_err().0
    };
    let mut setting = config([whole; 8]);
    setting[0] = 2;
    assert!(refused(setting).contains("palette"));
    for reserved in [5, 40, 60] {
        let mut setting = config([whole; 8]);
        setting[reserved] = 1;
        assert!(refused(setting).contains("reserved"));
    }
    for tile in [(17, 64), (16, 65)] {
        assert!(refused(config([tile; 8])).contains("too large"));
    }
    assert!(refused(config([(0, 64); 8])).contains("lines or bytes only"));

    let mut unit = Unit::RELEASED;
    assert_eq!(unit.zero(0), Err(Fault("no tiles are configured")));
    unit.configure(&config([whole, whole, whole, (15, 64), (16, 60), (0, 0), (16, 62), (15, 60)])).unwrap();
    assert_eq!(unit.zero(5), Err(Fault("a tile is used that has no lines")));
    assert_eq!(unit.multiply_bf16(0, 1, 2), Ok(()));
    for (sum, a, b) in [(0, 0, 1), (0, 1, 0), (0, 1, 1)] {
        assert!(unit.multiply_bf16(sum, a, b).unwrap_err().0.contains("named twice"));
    }
    assert!(unit.multiply_bf16(3, 0, 1).unwrap_err().0.contains("as many lines as the first"));
    assert!(unit.multiply_bf16(4, 0, 1).unwrap_err().0.contains("as many columns as the second"));
    assert!(unit.multiply_bf16(0, 1, 3).unwrap_err().0.contains("as many pairs"));
    assert!(unit.multiply_bf16(0, 6, 1).unwrap_err().0.contains("half a pair"));
    assert!(unit.multiply_bf16(0, 5, 1).unwrap_err().0.contains("no lines"));
    assert_eq!(
        unit.multiply_bf16(4, 0, 7).unwrap_err().0,
        "tdpbf16ps: the first tile has not as many pairs as the second has lines"
    );
    unit.configure(&[0; 64]).unwrap();
    assert_eq!(unit.zero(0), Err(Fault("no tiles are configured")), "palette 0 is a release");
}

#[test]
fn other_instructions_are_not_taken_for_the_unit_s() {
    // SAFETY: whole instructions.
    let decoded = |bytes: &[u8]| unsafe { decode::decode(bytes.as_ptr()) };
    for other in [
        &[0x0f, 0x0b][..],                           // ud2
        &[0xc4, 0xe2, 0x7d, 0x49, 0xc0],             // tilerelease with 256 bits
        &[0xc4, 0xe2, 0xf8, 0x49, 0xc0],             // W1
        &[0xc4, 0xe3, 0x78, 0x49, 0xc0],             // another map
        &[0xc4, 0xe2, 0x78, 0x49, 0xc8],             // register 1
        &[0xc4, 0xe2, 0x7b, 0x4b, 0x20],             // tileloadd without SIB
        &[0xc4, 0x62, 0x7b, 0x4b, 0x24, 0x38],       // of tile 12
        &[0xc4, 0xe2, 0x0a, 0x5c, 0xc4],             // tdpbf16ps of tile 14
        &[0xc4, 0xe2, 0x4b, 0x5e, 0xc4],             // tdpbssd
        &[0xc4, 0xe2, 0x79, 0x49, 0x00],             // sttilecfg
        &[0xc4, 0xe2, 0x78, 0x49, 0x05, 0, 0, 0, 0], // ldtilecfg relative to the instruction
    ] {
        assert_eq!(decoded(other), None, "{other:02x?}");
    }
    let multiply = Op::Multiply { sum: 0, a: 4, b: 6 };
    assert_eq!(decoded(&[0xc4, 0xe2, 0x4a, 0x5c, 0xc4]), Some(Instruction { op: multiply, len: 5 }));
    let address = Address { base: Some(0), index: Some(7), shift: 0, displacement: 0 };
    let load = Some(Instruction { op: Op::Load(4, address), len: 6 });
    assert_eq!(decoded(&[0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x38]), load);
}

/// How a child process ends that does `what`: the signal.
fn ends_by(what: fn()) -> i32 {
    // SAFETY: the child calls nothing but `what` and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::close(2);
            what();
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 }
    }
}

#[test]
fn faults_abort_and_other_instructions_keep_their_signal() {
    assert!(runs());
    // SAFETY: the child ends here, as it should.
    let illegal = || unsafe { asm!("ud2") };
    assert_eq!(ends_by(illegal), libc::SIGILL);
    // SAFETY: as above.
    let unconfigured = || unsafe { asm!("tilezero tmm2", out("tmm2") _) };
    let expected = if crate::isa::has_amx() { libc::SIGILL } else { libc::SIGABRT };
    assert_eq!(ends_by(unconfigured), expected);
}

//! The instructions of the matrix unit that the kernels use, from their bytes.
//!
//! All of them are `C4` (VEX with three bytes), map `0F38`, 128 bits, W0. The prefix `pp` and the opcode tell which:
//!
//! | bytes | instruction |
//! |---|---|
//! | none 49, memory | ldtilecfg |
//! | none 49 /0, registers, rm 0 | tilerelease |
//! | F2 49, registers, rm 0 | tilezero |
//! | F2 4B, memory with SIB | tileloadd |
//! | 66 4B, memory with SIB | tileloaddt1 |
//! | F3 4B, memory with SIB | tilestored |
//! | F3 5C, registers | tdpbf16ps |

/// One instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub op: Op,
    /// Its bytes.
    pub len: usize,
}

/// What it does; tile registers by number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op {
    Configure(Address),
    Release,
    Zero(u8),
    Load(u8, Address),
    Store(u8, Address),
    Multiply { sum: u8, a: u8, b: u8 },
}

/// `base + (index << shift) + displacement`; for tiles, the index is the distance of lines instead.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub base: Option<u8>,
    pub index: Option<u8>,
    pub shift: u8,
    pub displacement: i64,
}

/// The fields of a VEX prefix, upright.
struct Vex {
    /// Added to a register's number: of `reg`, of the index, of the base or `rm`.
    r: u8,
    x: u8,
    b: u8,
    /// The third operand.
    v: u8,
    /// 0 none, 1 is 66, 2 is F3, 3 is F2.
    pp: u8,
}

/// The instruction at `at`, if it is one of the unit's. Reads no byte behind it, nor behind one that is not.
///
/// # Safety
/// An instruction is readable at `at`.
pub(super) unsafe fn decode(at: *const u8) -> Option<Instruction> {
    // SAFETY: bytes are asked for in order, each only when those before say that the instruction has it.
    let byte = |i: usize| unsafe { at.add(i).read() };
    if byte(0) != 0xc4 {
        return None;
    }
    let (one, two) = (byte(1), byte(2));
    let extends = |bit: u8| u8::from(one & bit == 0) * 8;
    let vex = Vex { r: extends(0x80), x: extends(0x40), b: extends(0x20), v: !two >> 3 & 15, pp: two & 3 };
    let (map, wide, long) = (one & 31, two & 0x80 != 0, two & 4 != 0);
    if map != 2 || wide || long {
        return None;
    }
    let (opcode, modrm) = (byte(3), byte(4));
    let (mode, reg, rm) = (modrm >> 6, vex.r + (modrm >> 3 & 7), vex.b + (modrm & 7));
    let registers = mode == 3;
    if registers {
        // Tile registers end at 7, and only products have a third.
        let op = match (vex.pp, opcode, reg, rm, vex.v) {
            (0, 0x49, 0, 0, 0) => Op::Release,
            (3, 0x49, 0..8, 0, 0) => Op::Zero(reg),
            (2, 0x5c, 0..8, 0..8, 0..8) => Op::Multiply { sum: reg, a: rm, b: vex.v },
            _ => return None,
        };
        return Some(Instruction { op, len: 5 });
    }
    let tiles = opcode == 0x4b && modrm & 7 == 4 && reg < 8;
    let configures = opcode == 0x49 && vex.pp == 0 && reg == 0;
    if !(tiles || configures) || vex.v != 0 {
        return None;
    }
    let (address, len) = address(byte, &vex)?;
    let op = match (opcode, vex.pp) {
        (0x49, _) => Op::Configure(address),
        (_, 1 | 3) => Op::Load(reg, address),
        (_, 2) => Op::Store(reg, address),
        _ => return None,
    };
    Some(Instruction { op, len })
}

/// The memory operand, and where it ends. `None` for one that is relative to the instruction, which no kernel has.
fn address(byte: impl Fn(usize) -> u8, vex: &Vex) -> Option<(Address, usize)> {
    let (mode, rm) = (byte(4) >> 6, byte(4) & 7);
    let (mut address, mut end) = (Address::default(), 5);
    let mut base = rm;
    if rm == 4 {
        let sib = byte(5);
        end = 6;
        base = sib & 7;
        let index = vex.x + (sib >> 3 & 7);
        // Number 4 is the stack pointer, which is no index.
        address.index = (index != 4).then_some(index);
        address.shift = sib >> 6;
    }
    let displacement = match mode {
        0 if base == 5 && rm == 4 => 4,
        0 if base == 5 => return None,
        0 => 0,
        1 => 1,
        _ => 4,
    };
    address.base = (mode != 0 || base != 5).then_some(vex.b + base);
    let bytes = [0, 1, 2, 3].map(|i| if i < displacement { byte(end + i) } else { 0 });
    address.displacement = match displacement {
        1 => i64::from(bytes[0] as i8),
        _ => i64::from(i32::from_le_bytes(bytes)),
    };
    Some((address, end + displacement))
}

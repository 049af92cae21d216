//! Files that are broken, hostile or something else: each gives one clear error that names the file and the cause,
//! never a panic, and never much memory.

#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gguf_builder::{Builder, Raw, Tensor, array, array_claiming, f32_tensor, str, string, tensor, u16, u32};
use lapwing::gguf::{Gguf, OpenOptions};

const HUGE: u64 = 1 << 60;

/// Opens `path`; the error must name the file and contain `cause`.
fn refused(path: &Path, cause: &str) -> Result<(), String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    match catch_unwind(AssertUnwindSafe(|| Gguf::open(path, &OpenOptions::default()))) {
        Err(_) => Err(format!("{name}: panicked")),
        Ok(Ok(_)) => Err(format!("{name}: was opened, expected an error with {cause:?}")),
        Ok(Err(e)) => {
            let text = e.to_string();
            if !text.contains(name) || !text.contains(cause) || e.exit_code() != 1 || text.len() > 1000 {
                return Err(format!("{name}: expected the name and {cause:?}, found: {text}"));
            }
            Ok(())
        }
    }
}

/// Writes each case to a file of its own name and expects it to be refused; all failures are shown together.
fn all_refused(cases: Vec<(&str, Vec<u8>, &str)>) {
    let dir = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let count = cases.len();
    for (name, bytes, cause) in cases {
        let path = dir.path().join(format!("{name}.gguf"));
        fs::write(&path, bytes).unwrap();
        failures.extend(refused(&path, cause).err());
        fs::remove_file(&path).unwrap();
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    memory_stays_small();
}

/// Peak memory of this process stays under 1 GiB. Files are mapped, which counts only what is touched.
fn memory_stays_small() {
    match fs::read_to_string("/proc/self/status") {
        Err(_) => eprintln!("SKIPPED: no /proc/self/status here, peak memory is not checked"),
        Ok(status) => {
            let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("VmHWM");
            let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            assert!(kib < 1 << 20, "peak memory is {kib} KiB");
        }
    }
}

fn sound() -> Builder {
    Builder::sound()
}

fn with_key(key: impl AsRef<[u8]>, value: Raw) -> Vec<u8> {
    sound().key(key, value).bytes()
}

fn with_tensor(t: Tensor) -> Vec<u8> {
    sound().tensor(t).bytes()
}

#[test]
fn the_sound_file_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    fs::write(&path, sound().bytes()).unwrap();
    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(gguf.meta().require_uint("qwen3.block_count").unwrap(), 2);
    assert_eq!(gguf.require("a.weight", &[8, 4]).unwrap().bytes().len(), 128);
}

#[test]
fn headers() {
    let header = |version: u32| sound().with(|b| b.version = version).bytes();
    let magic = |magic: &[u8; 4]| sound().with(|b| b.magic = *magic).bytes();
    let mut safetensors = 16u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"a\":{\"dtype\":1}}");
    let v1 = [b"GGUF".as_slice(), &1u32.to_le_bytes(), &0u32.to_le_bytes(), &0u32.to_le_bytes(), &[0; 16]].concat();
    all_refused(vec![
        ("empty", Vec::new(), "empty"),
        ("three-bytes", b"GGU".to_vec(), "not a GGUF"),
        ("magic-only", b"GGUF".to_vec(), "truncated"),
        ("version-only", sound().bytes()[..8].to_vec(), "truncated"),
        ("half-counts", sound().bytes()[..20].to_vec(), "truncated"),
        ("version-0", header(0), "version 0"),
        ("version-1", v1, "version 1"),
        ("version-4", header(4), "version 4"),
        ("version-99", header(99), "version 99"),
        ("big-endian-3", header(3u32.swap_bytes()), "big-endian"),
        ("big-endian-2", header(2u32.swap_bytes()), "big-endian"),
        ("ggml-lmgg", magic(b"lmgg"), "before GGUF"),
        ("ggjt", magic(b"tjgg"), "before GGUF"),
        ("ggmf", magic(b"fmgg"), "before GGUF"),
        ("ggla", magic(b"algg"), "LoRA"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(), "gzip"),
        ("zip", b"PK\x03\x04\x14\0\0\0\0\0".to_vec(), "zip"),
        ("zstd", b"\x28\xb5\x2f\xfd\0\0\0\0".to_vec(), "zstd"),
        ("safetensors", safetensors, "safetensors"),
        ("json", b"{\"error\":\"not found\"}".to_vec(), "JSON"),
        ("html", b"<!DOCTYPE html><html>".to_vec(), "web page"),
        ("lfs-pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), "git lfs pull"),
        ("zeros", vec![0; 4096], "zeros"),
        ("text", b"hello, world, this is a text".to_vec(), "not a GGUF"),
    ]);
}

#[test]
fn counts() {
    let counts = |tensors, keys| {
        sound().with(|b| {
            b.tensor_count = tensors;
            b.key_count = keys;
        })
    };
    all_refused(vec![
        ("tensors-2-60", counts(Some(HUGE), None).bytes(), "tensor count of 1152921504606846976"),
        ("tensors-max", counts(Some(u64::MAX), None).bytes(), "tensor count"),
        ("tensors-60000", counts(Some(60_000), None).bytes(), "tensor count of 60000"),
        ("tensors-one-more", counts(Some(3), None).bytes(), "tensor 2"),
        ("keys-2-60", counts(None, Some(HUGE)).bytes(), "metadata key count of 1152921504606846976"),
        ("keys-max", counts(None, Some(u64::MAX)).bytes(), "metadata key count"),
        ("keys-60000", counts(None, Some(60_000)).bytes(), "metadata key count of 60000"),
        ("keys-one-more", counts(None, Some(3)).bytes(), "tensor"),
        ("keys-one-less", counts(None, Some(1)).bytes(), "tensor"),
        ("both-max", counts(Some(u64::MAX), Some(u64::MAX)).bytes(), "count"),
    ]);
}

#[test]
fn keys_and_values() {
    let raw = |type_id, bytes: &[u8]| Raw { type_id, bytes: bytes.to_vec() };
    let nested = (0..200).fold(u32(1), |inner, _| array(&[inner]));
    let wide = array(&[array_claiming(9, 1 << 40, Vec::new())]);
    let long_key = sound().with(|b| b.keys.push((vec![b'a'; 70_000], u32(1)))).bytes();
    let mut length_of_key = sound().bytes();
    length_of_key[24..32].copy_from_slice(&HUGE.to_le_bytes());
    let one_tensor = Builder::default().tensor(f32_tensor("a", &[8]));
    let mut empty_key = sound().bytes();
    empty_key[24..32].copy_from_slice(&0u64.to_le_bytes());
    all_refused(vec![
        ("key-length-2-60", length_of_key, "metadata key"),
        ("key-empty", empty_key, "length of 0"),
        ("key-too-long", long_key, "length of 70000"),
        ("key-not-utf8", with_key(b"ab\xff\xfe", u32(1)), "not UTF-8"),
        ("key-twice", with_key("qwen3.block_count", u32(3)), "\"qwen3.block_count\" occurs twice"),
        ("key-odd-twice", sound().key("My-Key", u32(3)).key("My-Key", u32(3)).bytes(), "\"My-Key\" occurs twice"),
        ("value-type-13", with_key("x.y", raw(13, &[0; 8])), "value type 13"),
        ("value-type-max", with_key("x.y", raw(u32::MAX, &[0; 8])), "\"x.y\""),
        ("string-2-60", with_key("x.y", raw(8, &HUGE.to_le_bytes())), "a string in metadata key \"x.y\""),
        ("string-max", with_key("x.y", raw(8, &u64::MAX.to_le_bytes())), "a string in metadata key \"x.y\""),
        ("string-not-utf8", with_key("x.y", str(b"a\xc3(")), "\"x.y\" holds text that is not UTF-8"),
        ("bool-7", with_key("x.y", raw(7, &[7])), "bool of value 7"),
        ("bool-255-in-array", with_key("x.y", array_claiming(7, 3, vec![0, 1, 255])), "bool of value 255"),
        ("array-2-60", with_key("x.y", array_claiming(4, HUGE, vec![0; 16])), "claims 1152921504606846976 elements"),
        ("array-max-u8", with_key("x.y", array_claiming(0, u64::MAX, vec![0; 16])), "elements"),
        ("array-strings-2-60", with_key("x.y", array_claiming(8, HUGE, string("a"))), "elements"),
        ("array-type-77", with_key("x.y", array_claiming(77, 1, vec![0; 16])), "element type 77"),
        ("array-string-cut", with_key("x.y", array_claiming(8, 1, HUGE.to_le_bytes().to_vec())), "\"x.y\""),
        ("array-string-not-utf8", with_key("x.y", array(&[str("ok"), str(b"\xff")])), "not UTF-8"),
        ("arrays-nested-200", with_key("x.y", nested), "nests arrays deeper"),
        ("arrays-wide", with_key("x.y", wide), "elements"),
        ("alignment-0", with_key("general.alignment", u32(0)), "alignment"),
        ("alignment-3", with_key("general.alignment", u32(3)), "alignment"),
        ("alignment-4", with_key("general.alignment", u32(4)), "alignment"),
        ("alignment-24", with_key("general.alignment", u32(24)), "power of two"),
        ("alignment-2-31", with_key("general.alignment", u32(1 << 31)), "aligned to 2147483648"),
        ("alignment-past-the-end", one_tensor.key("general.alignment", u32(1 << 31)).bytes(), "general.alignment"),
        ("alignment-string", with_key("general.alignment", str("32")), "alignment"),
        ("alignment-u16", with_key("general.alignment", u16(32)), "alignment"),
    ]);
}

#[test]
fn tensor_tables() {
    let odd = |dims: &[u64], type_id| tensor("odd", dims, type_id, vec![0; 256]);
    let at = |offset| Tensor { offset: Some(offset), ..f32_tensor("odd", &[8]) };
    let named = |name: &[u8]| Tensor { name: name.to_vec(), ..f32_tensor("odd", &[8]) };
    let mut name_length = sound().bytes();
    let table = sound().table_start();
    name_length[table..table + 8].copy_from_slice(&HUGE.to_le_bytes());
    all_refused(vec![
        ("name-length-2-60", name_length, "length of 1152921504606846976"),
        ("name-empty", with_tensor(named(b"")), "length of 0"),
        ("name-65", with_tensor(named(&[b'a'; 65])), "length of 65"),
        ("name-not-utf8", with_tensor(named(b"a\xff")), "not UTF-8"),
        ("name-twice", with_tensor(f32_tensor("a.weight", &[8])), "a.weight"),
        ("rank-0", with_tensor(odd(&[], 0)), "0 dimensions"),
        ("rank-5", with_tensor(odd(&[1, 1, 1, 1, 1], 0)), "5 dimensions"),
        ("rank-1000000", with_tensor(odd(&[1; 1000], 0)), "1000 dimensions"),
        ("dim-zero", with_tensor(odd(&[0], 0)), "dimension 0 is zero"),
        ("dim-second-zero", with_tensor(odd(&[32, 0], 8)), "dimension 1 is zero"),
        ("dims-overflow", with_tensor(odd(&[1 << 32, 1 << 32], 0)), "overflows"),
        ("dims-overflow-4", with_tensor(odd(&[1 << 20, 1 << 20, 1 << 20, 1 << 20], 0)), "overflows"),
        ("dim-2-60", with_tensor(odd(&[HUGE], 0)), "limit"),
        ("dims-2-40", with_tensor(odd(&[1 << 20, 1 << 20], 0)), "truncated"),
        ("block-32", with_tensor(odd(&[33, 2], 8)), "multiple of 32"),
        ("block-256", with_tensor(odd(&[128, 2], 12)), "multiple of 256"),
        ("type-removed-4", with_tensor(odd(&[32], 4)), "Q4_2"),
        ("type-removed-33", with_tensor(odd(&[32], 33)), "Q4_0_8_8"),
        ("type-ik-139", with_tensor(odd(&[256], 139)), "ik_llama.cpp"),
        ("type-43", with_tensor(odd(&[32], 43)), "type id 43"),
        ("type-max", with_tensor(odd(&[32], u32::MAX)), "type id 4294967295"),
        ("offset-misaligned", with_tensor(at(200)), "not aligned"),
        ("offset-max", with_tensor(at(u64::MAX - 31)), "ends past 2^64"),
        ("offset-2-60", with_tensor(at(HUGE)), "truncated"),
        ("overlap-same", with_tensor(at(0)), "overlap"),
        ("overlap-partly", with_tensor(at(96)), "overlap"),
    ]);
}

/// A sound file cut anywhere is refused, and never misread.
#[test]
fn cut_at_every_byte() {
    let whole = sound().key("x.names", array(&[str("one"), str("two")])).bytes();
    let last_tensor_ends = whole.len(); // 16 x 4 bytes, a multiple of 32
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    for length in 0..last_tensor_ends {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path, "").unwrap_or_else(|e| panic!("cut at {length}: {e}"));
    }
    fs::write(&path, &whole).unwrap();
    Gguf::open(&path, &OpenOptions::default()).unwrap();
    memory_stays_small();
}

/// Any byte of header, metadata and table changed to a few others: an error or a file that can be read to the end.
#[test]
fn changed_at_every_byte() {
    let whole = sound().key("x.names", array(&[str("one"), str("two")])).key("Odd-Key", u32(1)).bytes();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed.gguf");
    let mut opened = 0;
    for at in 0..whole.len() - 192 {
        for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            fs::write(&path, &bytes).unwrap();
            let result = catch_unwind(AssertUnwindSafe(|| {
                let gguf = Gguf::open(&path, &OpenOptions::default())?;
                let sum: usize = gguf.tensors().map(|t| t.bytes().iter().map(|&b| usize::from(b)).sum::<usize>()).sum();
                Ok::<usize, lapwing::error::Error>(sum + gguf.meta().items(4).count())
            }));
            match result.unwrap_or_else(|_| panic!("panic with {value} at {at}")) {
                Ok(_) => opened += 1,
                Err(e) => assert!(e.to_string().contains("changed.gguf"), "{value} at {at}: {e}"),
            }
        }
    }
    assert!(opened > 0, "letters of names can change without harm");
    memory_stays_small();
}

/// The most expensive metadata for its size: each byte of a u8 array becomes 24 in memory.
#[test]
fn memory_bombs() {
    let bytes = |n: usize| array_claiming(0, n as u64, vec![7; n]);
    let strings = |n: usize| array_claiming(8, n as u64, vec![0; 8 * n]);
    let arrays = |n: usize| array_claiming(9, n as u64, [4u32.to_le_bytes().as_slice(), &[0; 8]].concat().repeat(n));
    let many_keys = |n: u32| (0..n).fold(sound(), |b, i| b.key(format!("k{i}"), u32(0))).bytes();
    let memory = "MiB of memory";
    // One at a time: the test's own copies count in the peak too.
    all_refused(vec![("u8-array-20-mb", with_key("x.y", bytes(20 << 20)), memory)]);
    all_refused(vec![("u8-array-6-mb", with_key("x.y", bytes(6 << 20)), memory)]);
    all_refused(vec![("u8-arrays", sound().key("x.a", bytes(3 << 20)).key("x.b", bytes(3 << 20)).bytes(), memory)]);
    all_refused(vec![("empty-strings", with_key("x.y", strings(6 << 20)), memory)]);
    all_refused(vec![("empty-arrays", with_key("x.y", arrays(2 << 20)), memory)]);
    all_refused(vec![("long-string", with_key("x.y", str(vec![b'a'; 66 << 20])), "the limit is 67108864")]);
    all_refused(vec![("many-keys", many_keys(70_000), "metadata key count of 70002")]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("just-below.gguf");
    fs::write(&path, with_key("x.y", bytes(5 << 20))).unwrap();
    let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
    assert_eq!(gguf.meta().require_uints("x.y").unwrap().len(), 5 << 20);
    memory_stays_small();
}

fn shard(number: u16, count: u16, total: i32, names: &[&str]) -> Builder {
    let empty = Builder::default().key("split.no", u16(number)).key("split.count", u16(count));
    let b = empty.key("split.tensors.count", gguf_builder::i32(total));
    names.iter().fold(b, |b, name| b.tensor(f32_tensor(name, &[8])))
}

/// Writes the shards of a model of three and returns their paths.
fn write_shards(dir: &Path, shards: [Option<Builder>; 3]) -> [PathBuf; 3] {
    let paths = [1, 2, 3].map(|n| dir.join(format!("m-{n:05}-of-00003.gguf")));
    for (path, shard) in paths.iter().zip(shards) {
        match shard {
            Some(builder) => fs::write(path, builder.bytes()).unwrap(),
            None => drop(fs::remove_file(path)),
        }
    }
    paths
}

#[test]
fn broken_splits() {
    let good = || [shard(0, 3, 4, &["a", "b"]), shard(1, 3, 4, &["c"]), shard(2, 3, 4, &["d"])].map(Some);
    let with = |n: usize, other: Option<Builder>| {
        let mut shards = good();
        shards[n] = other;
        shards
    };
    let dir = tempfile::tempdir().unwrap();
    for path in write_shards(dir.path(), good()) {
        let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
        let names: Vec<&str> = gguf.tensors().map(|t| t.name()).collect();
        assert_eq!((names, gguf.files().len()), (vec!["a", "b", "c", "d"], 3), "{}", path.display());
    }
    let cases = [
        ("missing", with(1, None), "m-00002-of-00003.gguf"),
        ("wrong number", with(1, Some(shard(0, 3, 4, &["c"]))), "split.no is 0, expected 1"),
        ("wrong count", with(1, Some(shard(1, 4, 4, &["c"]))), "split.count is 4, expected 3"),
        ("no split keys", with(1, Some(Builder::default().tensor(f32_tensor("c", &[8])))), "no split.count"),
        ("other total", with(1, Some(shard(1, 3, 9, &["c"]))), "split.tensors.count is 9"),
        ("too few tensors", with(1, Some(shard(1, 3, 4, &[]))), "hold 3 tensors"),
        ("tensor twice", with(1, Some(shard(1, 3, 4, &["a"]))), "\"a\" is also in"),
        (
            "broken shard",
            with(1, Some(shard(1, 3, 4, &["c"]).with(|b| b.version = 9))),
            "m-00002-of-00003.gguf: is GGUF version 9",
        ),
    ];
    for (what, shards, cause) in cases {
        let paths = write_shards(dir.path(), shards);
        let error = Gguf::open(&paths[0], &OpenOptions::default()).expect_err(what).to_string();
        assert!(error.contains(cause) && error.contains("m-0000"), "{what}: {error}");
        let error = Gguf::open(&paths[2], &OpenOptions::default()).expect_err(what).to_string();
        assert!(error.contains(cause), "{what}, from the last: {error}");
    }
    let named = |n: usize, name: &str| {
        let b = with(0, Some(shard(0, 3, 4, &["a", "b"]).key("general.name", str("one"))));
        let mut b = b;
        b[n] = Some(shard(n as u16, 3, 4, &["c"]).key("general.name", str(name)));
        b
    };
    let paths = write_shards(dir.path(), named(1, "two"));
    refused_anywhere(&paths[0], "general.name is the string \"two\"");
    let paths = write_shards(dir.path(), good());
    let renamed = dir.path().join("renamed.gguf");
    fs::copy(&paths[1], &renamed).unwrap();
    refused(&renamed, "-00002-of-00003.gguf").unwrap();
    let swapped = dir.path().join("m-00001-of-00002.gguf");
    fs::copy(&paths[0], &swapped).unwrap();
    refused(&swapped, "1 of 3 by its metadata").unwrap();
}

fn refused_anywhere(path: &Path, cause: &str) {
    let error = Gguf::open(path, &OpenOptions::default()).unwrap_err().to_string();
    assert!(error.contains(cause), "{error}");
}

#[test]
fn a_split_with_odd_places() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("no-number", Builder::default().key("split.count", u16(3)), "no split.no"),
        ("number-too-big", shard(3, 3, 4, &["a"]), "split.no is 3"),
        ("count-string", Builder::default().key("split.count", str("3")), "split.count"),
        ("count-negative", Builder::default().key("split.count", gguf_builder::i32(-3)), "-3 (i32)"),
        (
            "count-2-60",
            Builder::default().key("split.no", u16(0)).key("split.count", gguf_builder::u64(HUGE)),
            "cannot be",
        ),
    ];
    for (name, builder, cause) in cases {
        let path = dir.path().join(format!("{name}.gguf"));
        fs::write(&path, builder.bytes()).unwrap();
        refused(&path, cause).unwrap();
    }
    let path = dir.path().join("lonely-00001-of-65535.gguf");
    fs::write(&path, shard(0, u16::MAX, 4, &["a"]).bytes()).unwrap();
    refused(&path, "and 65526 more").unwrap();
}

#[test]
fn paths_that_are_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder.gguf");
    fs::create_dir(&folder).unwrap();
    refused(&folder, "is a directory").unwrap();
    fs::write(folder.join("inside.gguf"), sound().bytes()).unwrap();
    refused(&folder, "inside.gguf").unwrap();
    refused(&dir.path().join("absent.gguf"), "cannot be opened").unwrap();
    refused(&folder.join("inside.gguf").join("below.gguf"), "cannot be opened").unwrap();
}

#[cfg(unix)]
#[test]
fn unix_paths_that_are_no_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    symlink(&a, &b).unwrap();
    symlink(&b, &a).unwrap();
    refused(&a, "cannot be opened").unwrap();
    let dangling = dir.path().join("dangling.gguf");
    symlink(dir.path().join("nowhere"), &dangling).unwrap();
    refused(&dangling, "cannot be opened").unwrap();
    refused(Path::new("/dev/null"), "not a regular file").unwrap();
    refused(Path::new("/dev/zero"), "not a regular file").unwrap();
    let secret = dir.path().join("secret.gguf");
    fs::write(&secret, sound().bytes()).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&secret).is_ok() {
        eprintln!("SKIPPED: this user (root?) may read any file, so the error for no permission is not checked");
    } else {
        refused(&secret, "cannot be opened").unwrap();
    }
}

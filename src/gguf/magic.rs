//! What a file is by its first bytes, so that the error for a wrong one says what it is and what to do.

use crate::error::{Error, Result};

/// Bytes of magic, version, tensor count and key count.
pub(super) const HEADER_BYTES: usize = 24;

/// Other formats people pass by mistake: leading bytes, what it is, what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (b"lmgg", "a ggml file from before GGUF (2022 to March 2023)", "download the model again as GGUF"),
    (b"fmgg", "a ggmf file from before GGUF (March 2023)", "download the model again as GGUF"),
    (b"tjgg", "a ggjt file from before GGUF (April to August 2023)", "download the model again as GGUF"),
    (b"algg", "a ggla LoRA adapter from before GGUF", "give the model itself, as GGUF"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"PK\x03\x04", "a zip archive (or a PyTorch checkpoint, which is one)", "unpack it, or download the GGUF"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`, or download the file"),
    (b"<", "a web page or XML (a failed download?)", "download the file again"),
    (b"{", "a JSON text", "give the .gguf file"),
    (b"\0\0\0\0", "zeros at its start (a download that never finished?)", "download it again"),
];

/// Checks magic and version of `bytes` (the whole file) and returns the version: 2 or 3, little-endian.
/// `file` is the name for messages.
pub(super) fn check(file: &str, bytes: &[u8]) -> Result<u32> {
    if !bytes.starts_with(b"GGUF") {
        return Err(Error::file(format!("{file}: is not a GGUF file: {}", describe(bytes))));
    }
    if bytes.len() < HEADER_BYTES {
        let have = bytes.len();
        return Err(Error::file(format!(
            "{file}: is truncated: {have} bytes, but the header alone has {HEADER_BYTES}; download it again"
        )));
    }
    let version = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    match version {
        2 | 3 => Ok(version),
        1 => Err(Error::unsupported(format!(
            "{file}: is GGUF version 1 (August 2023), which stores 32-bit counts; versions 2 and 3 are read. \
             Download a newer file, or convert the model again with llama.cpp's convert_hf_to_gguf.py"
        ))),
        _ if version & 0xffff == 0 && version != 0 => Err(Error::unsupported(format!(
            "{file}: is a big-endian GGUF (version {} stored backwards), made for s390x or POWER machines; \
             convert it with llama.cpp's gguf-py/gguf/scripts/gguf_convert_endian.py, or download the usual file",
            version.swap_bytes()
        ))),
        0 => Err(Error::file(format!("{file}: has GGUF version 0, which does not exist; download it again"))),
        _ => Err(Error::unsupported(format!(
            "{file}: is GGUF version {version}; this program reads 2 and 3. Update lapwing, or convert the model to version 3"
        ))),
    }
}

fn describe(bytes: &[u8]) -> String {
    if bytes.len() > 8 && bytes[8] == b'{' && u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default()) < 1 << 30 {
        return "it is a safetensors checkpoint; convert it to GGUF first".to_owned();
    }
    for (magic, what, todo) in OTHERS {
        if bytes.starts_with(magic) {
            return format!("it is {what}; {todo}");
        }
    }
    let start = &bytes[..bytes.len().min(4)];
    format!("it starts with {:?}, expected \"GGUF\"", String::from_utf8_lossy(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named() {
        let file = |version: u32| {
            let mut bytes = b"GGUF".to_vec();
            bytes.extend(version.to_le_bytes());
            bytes.resize(HEADER_BYTES, 0);
            check("m.gguf", &bytes).map_err(|e| e.to_string())
        };
        assert_eq!(file(2), Ok(2));
        assert_eq!(file(3), Ok(3));
        assert!(file(1).unwrap_err().contains("version 1"));
        assert!(file(3u32.swap_bytes()).unwrap_err().contains("big-endian"));
        assert!(file(4).unwrap_err().contains("version 4"));
        assert!(file(0).unwrap_err().contains("version 0"));
    }
}

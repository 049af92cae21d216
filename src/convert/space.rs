//! Whether the disk has room for what will be written.

use std::path::Path;

use crate::error::{Error, Result};

/// Fails when the disk that `output` will be on has fewer than `wanted` bytes left. Where the system does not say how
/// many it has, nothing is checked, and a full disk is met while writing.
pub fn check(output: &Path, wanted: u64) -> Result<()> {
    match available(output) {
        Some(left) if left < wanted => Err(Error::limit(format!(
            "{}: takes {wanted} bytes, but its disk has {left} left; make room, choose another place or a smaller TYPE",
            output.display()
        ))),
        _ => Ok(()),
    }
}

/// Bytes left on the disk of `output`.
fn available(output: &Path) -> Option<u64> {
    let dir = output.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs4::available_space(dir).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_any_disk_has_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.gguf");
        check(&output, 1).unwrap();
        if available(&output).is_some() {
            let error = check(&output, u64::MAX).unwrap_err().to_string();
            assert!(error.contains("out.gguf") && error.contains("make room"), "{error}");
        }
    }
}

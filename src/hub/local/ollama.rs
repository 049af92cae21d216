//! Ollama's models: `manifests/REGISTRY/NAMESPACE/MODEL/TAG` is JSON that names a blob `blobs/sha256-DIGEST`, which is
//! a plain GGUF.

use super::super::cache::walk;
use super::super::digest::is_sha256;
use super::{Model, Store, is_there, stat};
use serde::Deserialize;
use std::path::{Path, PathBuf};

const MAX_MANIFEST_BYTES: u64 = 1 << 20;
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// The models below Ollama's `models` folder.
pub(super) fn models(folder: &Path) -> Vec<Model> {
    let manifests = folder.join("manifests");
    let mut paths = Vec::new();
    walk(&manifests, "", 0, &mut paths);
    let model = |path: &String| {
        let name = name(path)?;
        let aliases = name.strip_suffix(":latest").map(str::to_owned).into_iter().collect();
        let (files, trouble) = match blob(folder, &manifests.join(path)) {
            Ok(blob) => (vec![blob], None),
            Err(why) => (Vec::new(), Some(format!("{}: {why}", manifests.join(path).display()))),
        };
        let (bytes, missing) = stat(&files);
        let trouble = trouble.or(missing);
        let quant = name.rsplit_once(':').and_then(|(_, tag)| super::super::choose::quant_of(tag));
        Some(Model { name, store: Store::Ollama, files, bytes, quant, trouble, aliases })
    };
    paths.iter().filter_map(model).collect()
}

/// `registry.ollama.ai/library/qwen3/8b` is `qwen3:8b`; other namespaces and registries stay in the name.
fn name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let [registry, namespace, model, tag] = parts[..] else { return None };
    Some(match (registry, namespace) {
        ("registry.ollama.ai", "library") => format!("{model}:{tag}"),
        ("registry.ollama.ai", _) => format!("{namespace}/{model}:{tag}"),
        _ => format!("{registry}/{namespace}/{model}:{tag}"),
    })
}

/// The GGUF that a manifest names.
fn blob(folder: &Path, manifest: &Path) -> Result<PathBuf, String> {
    let length = std::fs::metadata(manifest).map_err(|e| format!("cannot be read: {e}"))?.len();
    if length > MAX_MANIFEST_BYTES {
        return Err(format!("has {length} bytes, which is no manifest"));
    }
    let text = std::fs::read_to_string(manifest).map_err(|e| format!("cannot be read: {e}"))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|e| format!("is no manifest: {e}"))?;
    let layer = manifest.layers.iter().find(|layer| layer.media_type == MODEL_LAYER);
    let layer = layer.ok_or("names no model (it may run elsewhere)")?;
    let digest = layer.digest.strip_prefix("sha256:").filter(|digest| is_sha256(digest));
    let digest =
        digest.ok_or_else(|| format!("names the blob {:?}, expected sha256: and 64 hex digits", layer.digest))?;
    let blob = folder.join("blobs").join(format!("sha256-{digest}"));
    if is_there(&blob) { Ok(blob) } else { Err(format!("its blob sha256-{digest} is not there; pull it again")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_ollama_writes_them() {
        let of = |path: &str| name(path);
        assert_eq!(of("registry.ollama.ai/library/qwen3/8b").as_deref(), Some("qwen3:8b"));
        assert_eq!(of("registry.ollama.ai/us/m/latest").as_deref(), Some("us/m:latest"));
        assert_eq!(of("hf.co/Qwen/Qwen3-8B-GGUF/Q8_0").as_deref(), Some("hf.co/Qwen/Qwen3-8B-GGUF:Q8_0"));
        assert_eq!(of("x/y"), None);
    }
}

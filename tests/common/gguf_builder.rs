//! A small writer of GGUF bytes for tests: makes sound files, and lets every part of one be spoilt.
//!
//! Include it with `#[path = "common/gguf_builder.rs"] mod gguf_builder;`.
#![allow(dead_code)] // each test crate uses a part

/// A metadata value or tensor type as raw bytes with its type id.
#[derive(Clone, Debug)]
pub struct Raw {
    pub type_id: u32,
    pub bytes: Vec<u8>,
}

/// The bytes of a GGUF string: length and text.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(text);
    out
}

pub fn u32(value: u32) -> Raw {
    Raw { type_id: 4, bytes: value.to_le_bytes().to_vec() }
}

pub fn u16(value: u16) -> Raw {
    Raw { type_id: 2, bytes: value.to_le_bytes().to_vec() }
}

pub fn i32(value: i32) -> Raw {
    Raw { type_id: 5, bytes: value.to_le_bytes().to_vec() }
}

pub fn u64(value: u64) -> Raw {
    Raw { type_id: 10, bytes: value.to_le_bytes().to_vec() }
}

pub fn f32(value: f32) -> Raw {
    Raw { type_id: 6, bytes: value.to_le_bytes().to_vec() }
}

pub fn bool(value: u8) -> Raw {
    Raw { type_id: 7, bytes: vec![value] }
}

pub fn str(text: impl AsRef<[u8]>) -> Raw {
    Raw { type_id: 8, bytes: string(text) }
}

/// An array with a header that claims `count` elements of `element`, whatever `bytes` holds.
pub fn array_claiming(element: u32, count: u64, bytes: Vec<u8>) -> Raw {
    let mut out = element.to_le_bytes().to_vec();
    out.extend(count.to_le_bytes());
    out.extend(bytes);
    Raw { type_id: 9, bytes: out }
}

/// A sound array.
pub fn array(elements: &[Raw]) -> Raw {
    let element = elements.first().map_or(4, |e| e.type_id);
    array_claiming(element, elements.len() as u64, elements.iter().flat_map(|e| e.bytes.clone()).collect())
}

/// An entry of the tensor table and its payload.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: Vec<u8>,
    pub dims: Vec<u64>,
    pub type_id: u32,
    /// From the start of the data section; `None` puts it behind the one before.
    pub offset: Option<u64>,
    pub payload: Vec<u8>,
}

/// An F32 tensor of zeros.
pub fn f32_tensor(name: &str, dims: &[u64]) -> Tensor {
    let bytes = dims.iter().product::<u64>() as usize * 4;
    Tensor { name: name.into(), dims: dims.to_vec(), type_id: 0, offset: None, payload: vec![0; bytes] }
}

/// A tensor of any type with the given payload.
pub fn tensor(name: &str, dims: &[u64], type_id: u32, payload: Vec<u8>) -> Tensor {
    Tensor { name: name.into(), dims: dims.to_vec(), type_id, offset: None, payload }
}

/// A GGUF in the making.
#[derive(Clone, Debug)]
pub struct Builder {
    pub magic: [u8; 4],
    pub version: u32,
    /// What the header claims; `None` for the truth.
    pub tensor_count: Option<u64>,
    pub key_count: Option<u64>,
    pub keys: Vec<(Vec<u8>, Raw)>,
    pub tensors: Vec<Tensor>,
    /// Alignment of payload as written (not a key by itself).
    pub alignment: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            key_count: None,
            keys: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
        }
    }
}

impl Builder {
    /// A sound file of two keys and two tensors.
    pub fn sound() -> Builder {
        Builder::default()
            .key("general.architecture", str("qwen3"))
            .key("qwen3.block_count", u32(2))
            .tensor(f32_tensor("a.weight", &[8, 4]))
            .tensor(f32_tensor("b.weight", &[16]))
    }

    pub fn key(mut self, key: impl AsRef<[u8]>, value: Raw) -> Builder {
        self.keys.push((key.as_ref().to_vec(), value));
        self
    }

    pub fn tensor(mut self, tensor: Tensor) -> Builder {
        self.tensors.push(tensor);
        self
    }

    /// Applies `spoil`.
    pub fn with(mut self, spoil: impl FnOnce(&mut Builder)) -> Builder {
        spoil(&mut self);
        self
    }

    /// Header and metadata.
    fn head(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            out.extend(string(key));
            out.extend(value.type_id.to_le_bytes());
            out.extend(&value.bytes);
        }
        out
    }

    /// Offset of the tensor table.
    pub fn table_start(&self) -> usize {
        self.head().len()
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        let mut next = 0u64;
        let mut data: Vec<u8> = Vec::new();
        for t in &self.tensors {
            let offset = t.offset.unwrap_or(next);
            out.extend(string(&t.name));
            out.extend((t.dims.len() as u32).to_le_bytes());
            t.dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(t.type_id.to_le_bytes());
            out.extend(offset.to_le_bytes());
            let start = data.len();
            data.extend(&t.payload);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            next = next.max((start + t.payload.len()).next_multiple_of(self.alignment) as u64);
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(data);
        out
    }
}

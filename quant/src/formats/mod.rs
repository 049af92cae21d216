//! The tensor formats: one list, from which names, ids, sizes and dispatch are derived.

macro_rules! formats {
    ($($variant:ident = $id:literal, $name:literal, $block:literal weights in $bytes:literal bytes;)*) => {
        /// A tensor type this program can load, run and mix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types)]
        pub enum DType { $(#[doc = $name] $variant,)* }

        impl DType {
            /// Every format, in the order of the list.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];
            /// The format with this id in GGUF files (ggml's type id).
            pub fn from_ggml_id(id: u32) -> Option<DType> {
                match id { $($id => Some(DType::$variant),)* _ => None }
            }
            /// The id in GGUF files.
            pub fn ggml_id(self) -> u32 { match self { $(DType::$variant => $id,)* } }
            /// The name users know: `Q4_K`, `BF16`.
            pub fn name(self) -> &'static str { match self { $(DType::$variant => $name,)* } }
            /// Weights in a block.
            pub fn block_len(self) -> usize { match self { $(DType::$variant => $block,)* } }
            /// Bytes of a block.
            pub fn block_bytes(self) -> usize { match self { $(DType::$variant => $bytes,)* } }
        }
    };
}

formats! {
    F32 = 0, "F32", 1 weights in 4 bytes;
    F16 = 1, "F16", 1 weights in 2 bytes;
    BF16 = 30, "BF16", 1 weights in 2 bytes;
    Q4_0 = 2, "Q4_0", 32 weights in 18 bytes;
    Q4_1 = 3, "Q4_1", 32 weights in 20 bytes;
    Q5_0 = 6, "Q5_0", 32 weights in 22 bytes;
    Q5_1 = 7, "Q5_1", 32 weights in 24 bytes;
    Q8_0 = 8, "Q8_0", 32 weights in 34 bytes;
    Q2_K = 10, "Q2_K", 256 weights in 84 bytes;
    Q3_K = 11, "Q3_K", 256 weights in 110 bytes;
    Q4_K = 12, "Q4_K", 256 weights in 144 bytes;
    Q5_K = 13, "Q5_K", 256 weights in 176 bytes;
    Q6_K = 14, "Q6_K", 256 weights in 210 bytes;
    IQ4_NL = 20, "IQ4_NL", 32 weights in 18 bytes;
    IQ4_XS = 23, "IQ4_XS", 256 weights in 136 bytes;
}

impl DType {
    /// Bytes of a row of `cols` weights; `None` when `cols` is no multiple of the block.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        cols.is_multiple_of(self.block_len()).then(|| cols / self.block_len() * self.block_bytes())
    }
}

//! The names a user may ask for (`Q4_K_M`), with llama.cpp's numbers for `general.file_type`.

use lapwing_quant::DType;

use crate::error::{Error, Result};

macro_rules! file_types {
    ($($variant:ident = $id:literal, $dtype:ident, $bits:literal;)*) => {
        /// What a whole file is quantized to: a format, or a mix of formats named by its main one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(non_camel_case_types)]
        pub enum FileType {
            $(#[doc = concat!("About ", $bits, " bits per weight, mostly ", stringify!($dtype), ".")] $variant,)*
            /// Every tensor stays as it is.
            COPY,
        }

        impl FileType {
            /// All, in the order in which they are listed to a user.
            pub const ALL: &'static [FileType] = &[$(FileType::$variant,)* FileType::COPY];

            /// The name users know.
            pub fn name(self) -> &'static str {
                match self { $(FileType::$variant => stringify!($variant),)* FileType::COPY => "COPY" }
            }

            /// llama.cpp's number; `None` for COPY.
            pub fn id(self) -> Option<u32> {
                match self { $(FileType::$variant => Some($id),)* FileType::COPY => None }
            }

            /// The format of the tensors that no rule of the mix names; `None` for COPY.
            pub fn default_dtype(self) -> Option<DType> {
                match self { $(FileType::$variant => Some(DType::$dtype),)* FileType::COPY => None }
            }

            /// Bits per weight of a large model, about; empty for COPY.
            pub fn bits(self) -> &'static str {
                match self { $(FileType::$variant => $bits,)* FileType::COPY => "" }
            }
        }
    };
}

file_types! {
    F32 = 0, F32, "32";
    F16 = 1, F16, "16";
    BF16 = 32, BF16, "16";
    Q8_0 = 7, Q8_0, "8.5";
    Q6_K = 18, Q6_K, "6.6";
    Q5_K_M = 17, Q5_K, "5.7";
    Q5_K_S = 16, Q5_K, "5.6";
    Q5_1 = 9, Q5_1, "6";
    Q5_0 = 8, Q5_0, "5.5";
    Q4_K_M = 15, Q4_K, "4.9";
    Q4_K_S = 14, Q4_K, "4.6";
    Q4_1 = 3, Q4_1, "5";
    Q4_0 = 2, Q4_0, "4.5";
    IQ4_NL = 25, IQ4_NL, "4.5";
    IQ4_XS = 30, IQ4_XS, "4.3";
    Q3_K_L = 13, Q3_K, "4.2";
    Q3_K_M = 12, Q3_K, "3.9";
    Q3_K_S = 11, Q3_K, "3.5";
    Q2_K = 10, Q2_K, "3.1";
}

/// Short names that llama-quantize takes for a mix.
const ALIASES: [(&str, FileType); 3] =
    [("Q3_K", FileType::Q3_K_M), ("Q4_K", FileType::Q4_K_M), ("Q5_K", FileType::Q5_K_M)];

impl FileType {
    /// The type of this name (in any case), or with this number.
    pub fn parse(text: &str) -> Option<FileType> {
        let named = |t: &&FileType| t.name().eq_ignore_ascii_case(text);
        let numbered = |t: &&FileType| t.id().is_some_and(|id| text.parse() == Ok(id));
        FileType::ALL
            .iter()
            .find(|t| named(t) || numbered(t))
            .copied()
            .or_else(|| ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text)).map(|(_, t)| *t))
    }

    /// As [`FileType::parse`], with an error that lists the names.
    pub fn require(text: &str) -> Result<FileType> {
        FileType::parse(text).ok_or_else(|| {
            let names: Vec<&str> = FileType::ALL.iter().map(|t| t.name()).collect();
            Error::usage(format!("{text:?} is no TYPE; expected one of {}", names.join(" ")))
        })
    }

    /// The file type whose every tensor is of this format, where there is one.
    pub(super) fn of_floats(dtype: DType) -> Option<FileType> {
        [FileType::F32, FileType::F16, FileType::BF16].into_iter().find(|t| t.default_dtype() == Some(dtype))
    }
}

/// The tensor format of this name, in any case.
pub fn parse_dtype(text: &str) -> Result<DType> {
    DType::ALL.iter().find(|d| d.name().eq_ignore_ascii_case(text)).copied().ok_or_else(|| {
        let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        Error::usage(format!("{text:?} is no tensor type; expected one of {}", names.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_aliases() {
        assert_eq!(FileType::parse("q4_k_m"), Some(FileType::Q4_K_M));
        assert_eq!(FileType::parse("15"), Some(FileType::Q4_K_M));
        assert_eq!(FileType::parse("Q4_K"), Some(FileType::Q4_K_M));
        assert_eq!(FileType::parse("copy"), Some(FileType::COPY));
        assert_eq!(FileType::parse("IQ2_XS"), None);
        assert_eq!(FileType::parse("out.gguf"), None);
        for t in FileType::ALL {
            assert_eq!(FileType::parse(t.name()), Some(*t));
            assert_eq!(t.id().is_some(), t.default_dtype().is_some());
        }
        let error = FileType::require("Q9").unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("IQ4_XS"), "{error}");
    }
}

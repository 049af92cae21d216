//! The mixes against tables written down from what llama-quantize documents and produces, not from the code beside.

use super::*;

/// Tensors of a model of `layers` layers in file order, and the facts of one with `queries_per_kv`.
fn model(layers: usize, cols: usize, tied: bool, experts: usize) -> Vec<(String, Vec<usize>)> {
    let mut found = Vec::new();
    let mut add = |name: String, shape: &[usize]| found.push((name, shape.to_vec()));
    if !tied {
        add("output.weight".into(), &[cols, 1024]);
    }
    add("output_norm.weight".into(), &[cols]);
    add("token_embd.weight".into(), &[cols, 1024]);
    for layer in 0..layers {
        let ffn = if experts > 0 { "_exps" } else { "" };
        for kind in ["attn_k", "attn_output", "attn_q", "attn_v"] {
            add(format!("blk.{layer}.{kind}.weight"), &[cols, cols]);
        }
        for kind in ["attn_k_norm", "attn_norm", "attn_q_norm", "ffn_norm"] {
            add(format!("blk.{layer}.{kind}.weight"), &[cols]);
        }
        for kind in ["ffn_down", "ffn_gate", "ffn_up"] {
            let shape: &[usize] = if experts > 0 { &[cols, cols, experts] } else { &[cols, cols] };
            add(format!("blk.{layer}.{kind}{ffn}.weight"), shape);
        }
        if experts > 0 {
            add(format!("blk.{layer}.ffn_gate_inp.weight"), &[cols, experts]);
        }
    }
    found
}

struct Case {
    layers: usize,
    cols: usize,
    tied: bool,
    experts: usize,
    queries_per_kv: usize,
    imatrix: bool,
}

const PLAIN: Case = Case { layers: 16, cols: 256, tied: false, experts: 0, queries_per_kv: 4, imatrix: false };

/// The type of every tensor by name.
fn types(case: &Case, choices: &Choices) -> Vec<(String, DType)> {
    let tensors = model(case.layers, case.cols, case.tied, case.experts);
    let dtype = |name: &str| if name.contains("norm") || name.contains("inp") { DType::F32 } else { DType::BF16 };
    let facts: Vec<TensorFacts<'_>> =
        tensors.iter().map(|(name, shape)| TensorFacts { name, shape, dtype: dtype(name) }).collect();
    let Case { layers, experts, queries_per_kv, imatrix: has_imatrix, .. } = *case;
    let chosen = choose(&facts, &ModelFacts { layers, experts, queries_per_kv, has_imatrix }, choices).unwrap();
    tensors.into_iter().zip(chosen).map(|((name, _), choice)| (name, choice.dtype)).collect()
}

/// Types that differ from the default, as `embd Q6_K, v 0-3 Q5_K`: kinds in order, layers as ranges.
fn exceptions(case: &Case, file_type: FileType) -> String {
    let default = file_type.default_dtype().unwrap();
    let found = types(case, &Choices::new(file_type));
    let mut out = Vec::new();
    for (label, part) in [
        ("output", "output.weight"),
        ("embd", "token_embd"),
        ("k", "attn_k.weight"),
        ("o", "attn_output"),
        ("q", "attn_q.weight"),
        ("v", "attn_v"),
        ("down", "ffn_down"),
        ("gate", "ffn_gate."),
        ("up", "ffn_up"),
    ] {
        let mut kinds: Vec<DType> = Vec::new();
        let of_kind =
            || found.iter().filter(|(name, _)| if label == "output" { name == part } else { name.contains(part) });
        for (_, dtype) in of_kind() {
            if *dtype != default && !kinds.contains(dtype) {
                kinds.push(*dtype);
            }
        }
        for kind in kinds {
            let layers: Vec<usize> =
                of_kind().filter(|(_, d)| *d == kind).filter_map(|(name, _)| layer_of(name)).collect();
            let all = layers.len() == case.layers || layers.is_empty();
            let shown: Vec<String> = layers.iter().map(usize::to_string).collect();
            let shown = if all { String::new() } else { format!(" {}", shown.join(",")) };
            out.push(format!("{label}{shown} {}", kind.name()));
        }
    }
    out.join("; ")
}

#[test]
fn every_mix_of_sixteen_layers() {
    let more = "v 0,1,4,7,10,13,14,15 Q6_K; down 0,1,4,7,10,13,14,15 Q6_K";
    for (name, expected) in [
        ("Q2_K", "output Q6_K; o Q3_K; v Q4_K; down Q3_K".to_owned()),
        ("Q3_K_S", "output Q6_K".to_owned()),
        (
            "Q3_K_M",
            "output Q6_K; o Q4_K; v 0,1 Q5_K; v 2,3,4,5,6,7,8,9,10,11,12,13,14,15 Q4_K; down 0 Q5_K; \
                    down 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 Q4_K"
                .to_owned(),
        ),
        ("Q3_K_L", "output Q6_K; o Q5_K; v Q5_K; down Q5_K".to_owned()),
        ("Q4_0", "output Q6_K".to_owned()),
        ("Q4_1", "output Q6_K".to_owned()),
        ("Q5_0", "output Q6_K".to_owned()),
        ("Q5_1", "output Q6_K".to_owned()),
        ("Q4_K_S", "output Q6_K; v 0,1,2,3 Q5_K; down 0,1 Q5_K".to_owned()),
        ("Q4_K_M", format!("output Q6_K; {more}")),
        ("Q5_K_S", "output Q6_K".to_owned()),
        ("Q5_K_M", format!("output Q6_K; {more}")),
        ("Q6_K", String::new()),
        ("Q8_0", String::new()),
        ("IQ4_NL", "output Q6_K; v Q5_K; down 0,1 Q5_K".to_owned()),
        ("IQ4_XS", "output Q6_K; v Q5_K; down 0,1 Q5_K".to_owned()),
        ("F32", String::new()),
        ("F16", String::new()),
        ("BF16", String::new()),
    ] {
        let file_type = FileType::require(name).unwrap();
        assert_eq!(exceptions(&PLAIN, file_type), expected, "{name}");
        let tied = expected.replace("output Q6_K", "embd Q6_K");
        assert_eq!(exceptions(&Case { tied: true, ..PLAIN }, file_type), tied, "{name}, tied");
    }
}

#[test]
fn few_queries_for_a_head_change_the_values() {
    let case = Case { queries_per_kv: 2, ..PLAIN };
    assert_eq!(exceptions(&case, FileType::Q2_K), "output Q6_K; o Q3_K; v Q3_K; down Q3_K");
    assert_eq!(exceptions(&case, FileType::IQ4_XS), "output Q6_K; down 0,1 Q5_K");
}

#[test]
fn an_importance_matrix_changes_the_first_layers() {
    let case = Case { imatrix: true, ..PLAIN };
    assert_eq!(exceptions(&case, FileType::Q4_0), "output Q6_K; down 0,1 Q4_1");
    assert_eq!(exceptions(&case, FileType::Q5_0), "output Q6_K; down 0,1 Q5_1");
    assert_eq!(exceptions(&case, FileType::IQ4_NL), "output Q6_K; v Q5_K");
    assert_eq!(exceptions(&case, FileType::Q4_K_S), "output Q6_K; v 0,1,2,3 Q5_K; down 0,1 Q5_K");
}

#[test]
fn eight_experts_are_a_case_of_their_own() {
    let case = Case { experts: 8, layers: 8, ..PLAIN };
    assert_eq!(exceptions(&case, FileType::Q4_K_M), "output Q6_K; k Q8_0; o Q5_K; v Q8_0; down 0,3,6,7 Q6_K");
    let many = Case { experts: 128, layers: 8, ..PLAIN };
    assert_eq!(exceptions(&many, FileType::Q4_K_M), "output Q6_K; v 0,3,6,7 Q6_K; down 0,3,6,7 Q6_K");
}

/// Counts and layers as found in two files that llama-quantize made of models with published shapes.
#[test]
fn q4_k_m_of_published_shapes() {
    let count = |found: &[(String, DType)], dtype| found.iter().filter(|(_, d)| *d == dtype).count();
    let small = types(&Case { layers: 28, tied: true, queries_per_kv: 2, ..PLAIN }, &Choices::new(FileType::Q4_K_M));
    let figures = [DType::Q6_K, DType::Q4_K, DType::F32].map(|d| count(&small, d));
    assert_eq!(figures, [29, 168, 113]);
    let large = types(&Case { layers: 36, tied: false, queries_per_kv: 4, ..PLAIN }, &Choices::new(FileType::Q4_K_M));
    assert_eq!([DType::Q6_K, DType::Q4_K, DType::F32].map(|d| count(&large, d)), [37, 217, 145]);
}

#[test]
fn odd_rows_fall_back() {
    for (file_type, body, output) in [
        (FileType::Q4_K_S, DType::Q5_0, DType::Q8_0),
        (FileType::Q5_K_S, DType::Q5_1, DType::Q8_0),
        (FileType::Q6_K, DType::Q8_0, DType::Q8_0),
        (FileType::Q3_K_S, DType::Q4_0, DType::Q8_0),
        (FileType::IQ4_XS, DType::IQ4_NL, DType::Q8_0),
        (FileType::Q4_0, DType::Q4_0, DType::Q6_K),
    ] {
        let found = types(&Case { cols: 32 * 3, ..PLAIN }, &Choices::new(file_type));
        let of = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(of("blk.9.attn_q.weight"), body, "{}", file_type.name());
        let fallback = if output == DType::Q6_K { DType::Q8_0 } else { output };
        assert_eq!(of("output.weight"), fallback, "{}", file_type.name());
        let odd = types(&Case { cols: 40, ..PLAIN }, &Choices::new(file_type));
        assert!(odd.iter().all(|(_, d)| [DType::F16, DType::F32].contains(d)), "{}", file_type.name());
    }
}

#[test]
fn what_the_user_names_counts() {
    let pattern = |text: &str, dtype| (Regex::new(text).unwrap(), dtype);
    let mut choices = Choices::new(FileType::Q4_K_M);
    choices.tensor_types = vec![pattern(r"blk\.[0-3]\.ffn_down", DType::Q8_0), pattern("ffn_", DType::Q3_K)];
    choices.output_tensor_type = Some(DType::Q8_0);
    choices.token_embedding_type = Some(DType::Q5_K);
    let found = types(&PLAIN, &choices);
    let of = |name: &str| found.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(of("blk.3.ffn_down.weight"), DType::Q8_0);
    assert_eq!(of("blk.4.ffn_down.weight"), DType::Q3_K);
    assert_eq!(of("blk.4.ffn_norm.weight"), DType::F32, "norms stay");
    assert_eq!((of("output.weight"), of("token_embd.weight")), (DType::Q8_0, DType::Q5_K));

    let mut pure = Choices::new(FileType::Q4_K_M);
    pure.pure = true;
    let found = types(&PLAIN, &pure);
    assert!(found.iter().all(|(n, d)| *d == if n.contains("norm") { DType::F32 } else { DType::Q4_K }));

    let mut leave = Choices::new(FileType::Q4_K_M);
    leave.leave_output_tensor = true;
    assert_eq!(types(&PLAIN, &leave)[0], ("output.weight".to_owned(), DType::BF16));
    let copied = types(&PLAIN, &Choices::new(FileType::COPY));
    assert!(copied.iter().all(|(n, d)| *d == if n.contains("norm") { DType::F32 } else { DType::BF16 }));

    let tensors = [TensorFacts { name: "token_embd.weight", shape: &[40, 8], dtype: DType::F32 }];
    let facts = ModelFacts { layers: 1, experts: 0, queries_per_kv: 1, has_imatrix: false };
    let error = choose(&tensors, &facts, &choices).unwrap_err();
    assert!(error.to_string().contains("rows have 40 weights"), "{error}");
}

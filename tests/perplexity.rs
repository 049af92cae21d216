//! `perplexity`, `compare`, `imatrix` and certificates on the committed models: figures against independent
//! computations in f64 from what `logits` writes, exact zeros where nothing differs, equal bytes whatever the threads.

mod common;
#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use common::{Figures, argmax, fixture, root};
use gguf_builder::{Builder, array, str};
use lapwing::cli::certify::{self, Job};
use lapwing::cli::model_args::ModelArgs;
use lapwing::cli::text_args::ChunkArgs;
use lapwing::gguf::{Certificate, Gguf, OpenOptions};
use lapwing::imatrix::Imatrix;
use lapwing_quant::formats;
use serde_json::Value;

const MODELS: [&str; 5] = ["dense-bf16", "moe-bf16", "yarn-bf16", "dense-mixed", "moe-q8_0"];
const N_CTX: usize = 48;

/// What a command did: exit code, stdout, stderr.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        words.iter().for_each(|w| assert!(self.said.contains(w), "{w:?} is not in: {}", self.said));
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).expect("JSON")
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn lapwing(args: &[&str]) -> Done {
    let output = program(args).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    let done = Done { code: output.status.code(), out: text(output.stdout), said: text(output.stderr) };
    assert!(!done.said.contains("panicked"), "{}", done.said);
    done
}

fn utf8(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("a UTF-8 path").to_owned()
}

fn model(name: &str) -> String {
    utf8(fixture(&format!("{name}.gguf")))
}

fn text() -> String {
    utf8(root().join("tests/fixtures/eval/text.txt"))
}

/// The command's arguments for the text in short chunks.
fn over_text<'a>(command: &[&'a str], more: &[&'a str], text: &'a str) -> Vec<&'a str> {
    [command, &["-f", text, "-c", "48", "--chunks", "3"], more].concat()
}

/// The text's tokens by `lapwing tokenize`.
fn tokens(model: &str) -> Vec<u32> {
    let out = lapwing(&["tokenize", "-m", model, "-f", &text(), "--no-special", "--ids-only"]).ok().out;
    out.trim().split(',').map(|id| id.parse().expect("a number")).collect()
}

/// All rows of logits of one chunk by `lapwing logits`, as log-probabilities.
fn log_probabilities(model: &str, ids: &[u32], dir: &Path) -> Vec<Vec<f64>> {
    let out = dir.join("logits.safetensors");
    let list = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    lapwing(&["logits", "-m", model, "--ids", &list, "--last", "0", "-o", &utf8(&out)]).ok();
    let logits = Figures::read(out).f32("logits");
    let row = |row: &[f32]| -> Vec<f64> {
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        row.iter().map(|&x| f64::from(x) - sum.ln()).collect()
    };
    logits.values.chunks(logits.cols()).map(row).collect()
}

/// A scored position: its log-probabilities, and the token that came.
type Scored = (Vec<f64>, usize);

/// The scored positions of the first three chunks.
fn scored(model: &str) -> Vec<Scored> {
    let (ids, dir) = (tokens(model), tempfile::tempdir().expect("a directory"));
    let mut all = Vec::new();
    for chunk in ids.chunks_exact(N_CTX).take(3) {
        let rows = log_probabilities(model, chunk, dir.path());
        all.extend((N_CTX / 2..N_CTX - 1).map(|at| (rows[at].clone(), chunk[at + 1] as usize)));
    }
    all
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, (variance / (n - 1.0)).sqrt())
}

fn close(found: &Value, want: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what} is {found}"));
    assert!((found - want).abs() <= 1e-9 * want.abs().max(1e-3), "{what}: {found}, expected {want}");
}

#[test]
fn perplexity_is_that_of_the_logits() {
    for name in MODELS {
        let m = model(name);
        let report = lapwing(&over_text(&["perplexity", "-m", &m], &["--json"], &text())).json();
        let nll: Vec<f64> = scored(&m).iter().map(|(row, target)| -row[*target]).collect();
        let (mean, error) = mean_and_error(&nll);
        assert_eq!((&report["tokens"], &report["chunks"], &report["n_ctx"]), (&69.into(), &3.into(), &48.into()));
        close(&report["ppl"]["value"], mean.exp(), name);
        close(&report["ppl"]["error"], mean.exp() * error, name);
        close(&report["running"][0], mean_and_error(&nll[..23]).0.exp(), name);
        let words = lapwing(&over_text(&["perplexity", "-m", &m], &[], &text())).ok().out;
        let last = format!("Final estimate: PPL = {:.4} +/- {:.5}", mean.exp(), mean.exp() * error);
        assert_eq!(words.lines().last(), Some(last.as_str()), "{name}");
        assert_eq!(words.lines().count(), 4, "a line for each chunk: {words}");
    }
}

#[test]
fn passes_and_threads_change_nothing() {
    let (m, other) = (model("moe-q8_0"), model("moe-bf16"));
    for base in [&["perplexity", "-m", &m][..], &["compare", &other, &m]] {
        let of = |more: &[&str]| lapwing(&over_text(base, more, &text())).ok().out;
        let want = of(&["-t", "1"]);
        for more in [&["-t", "2", "-b", "5"][..], &["-t", "1", "-b", "1"], &["-t", "2", "-b", "2048", "--no-pin"]] {
            assert_eq!(of(more), want, "{more:?}");
        }
    }
}

#[test]
fn a_model_does_not_differ_from_itself() {
    for name in MODELS {
        let m = model(name);
        let r = lapwing(&over_text(&["compare", &m, &m], &["--json"], &text())).json();
        for zero in
            [&r["kld"]["mean"]["value"], &r["kld"]["max"], &r["delta_p_rms"]["value"], &r["kld"]["mean"]["error"]]
        {
            assert_eq!(zero, 0.0, "{name}: {r}");
        }
        assert_eq!((&r["same_top"]["value"], &r["ppl_ratio"]["value"]), (&1.0.into(), &1.0.into()), "{name}");
        let alone = lapwing(&over_text(&["perplexity", "-m", &m], &["--json"], &text())).json();
        assert_eq!((&r["ppl"], &r["ppl_reference"]), (&alone["ppl"], &alone["ppl"]), "{name}");
    }
}

#[test]
fn differences_are_those_of_the_logits() {
    for (reference, name) in [("dense-bf16", "yarn-bf16"), ("moe-bf16", "moe-q8_0"), ("dense-mixed", "dense-bf16")] {
        let (a, b) = (model(reference), model(name));
        let r = lapwing(&over_text(&["compare", &a, &b], &["--json"], &text())).json();
        let (p, q) = (scored(&a), scored(&b));
        let pairs = || p.iter().zip(&q);
        let kld = |(p, q): (&Scored, &Scored)| -> f64 { p.0.iter().zip(&q.0).map(|(p, q)| p.exp() * (p - q)).sum() };
        let mut klds: Vec<f64> = pairs().map(kld).collect();
        let (mean, error) = mean_and_error(&klds);
        close(&r["kld"]["mean"]["value"], mean, "mean");
        close(&r["kld"]["mean"]["error"], error, "error");
        klds.sort_by(f64::total_cmp);
        close(&r["kld"]["max"], klds[68], "max");
        close(&r["kld"]["median"], klds[34], "median");
        let top = |row: &[f64]| argmax(&row.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let same = pairs().filter(|(p, q)| top(&p.0) == top(&q.0)).count();
        close(&r["same_top"]["value"], same as f64 / 69.0, "same top");
        let gaps: Vec<f64> = pairs().map(|(p, q)| q.0[q.1].exp() - p.0[p.1].exp()).collect();
        close(&r["delta_p_mean"]["value"], mean_and_error(&gaps).0, "mean delta p");
        let rms = (gaps.iter().map(|g| g * g).sum::<f64>() / 69.0).sqrt();
        close(&r["delta_p_rms"]["value"], rms, "RMS delta p");
        let ratio: Vec<f64> = pairs().map(|(p, q)| p.0[p.1] - q.0[q.1]).collect();
        close(&r["ppl_ratio"]["value"], mean_and_error(&ratio).0.exp(), "ratio");
        let words = lapwing(&over_text(&["compare", &a, &b], &[], &text())).ok().out;
        assert!(words.contains("69 in 3 chunks of 48") && words.contains(&format!("{mean:.6} +/- {error:.6} nats")));
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let (m, text) = (model("dense-bf16"), text());
    lapwing(&["perplexity", "-m", &m]).failed(2, &["--file"]);
    lapwing(&["perplexity", "-m", &m, "-f", "/no/such/text"]).failed(1, &["/no/such/text"]);
    lapwing(&["perplexity", "-m", &m, "-f", &text, "-c", "100000"]).failed(2, &["two chunks of 100000"]);
    lapwing(&["perplexity", "-m", &m, "-f", &text, "-c", "3"]).failed(2, &["too short"]);
    lapwing(&["perplexity", "-m", &m, "-f", &text, "--chunks", "0"]).failed(2, &["--chunks"]);
    lapwing(&["imatrix", "-m", &m]).failed(2, &["--file"]);
    let dir = tempfile::tempdir().expect("a directory");
    let words = |name: &str, last: &str| {
        let tokens: Vec<_> = ["a", "b", last].into_iter().map(str).collect();
        let bytes = Builder::sound().key("tokenizer.ggml.tokens", array(&tokens)).bytes();
        std::fs::write(dir.path().join(name), bytes).expect("written");
        utf8(dir.path().join(name))
    };
    let (a, b) = (words("a.gguf", "c"), words("b.gguf", "d"));
    lapwing(&["compare", &a, &b, "-f", &text]).failed(2, &["cannot be compared", "token 2", "\"d\"", "\"c\""]);
    let help = lapwing(&["perplexity", "--help"]).ok().out;
    assert!(help.contains("Tokens per chunk") && !help.contains("8192"), "{help}");
    for command in ["perplexity", "compare", "imatrix"] {
        let help = lapwing(&[command, "--help"]).ok().out;
        help.lines().for_each(|l| assert!(l.chars().count() <= 80, "{command}: {l}"));
    }
}

/// Runs `imatrix` over the text and reads what it wrote.
fn imatrix(name: &str, more: &[&str], out: &Path) -> (Imatrix, Done) {
    let (m, out, text) = (model(name), utf8(out), text());
    let short: &[&str] = if more.contains(&"-c") { &[] } else { &["-c", "48"] };
    let done = lapwing(&[&["imatrix", "-m", &m, "-f", &text, "-o", &out], short, more].concat()).ok();
    (Imatrix::open(Path::new(&out)).expect("a sound matrix"), done)
}

#[test]
fn importance_is_that_of_the_inputs() {
    let dir = tempfile::tempdir().expect("a directory");
    let (found, done) = imatrix("dense-bf16", &["--chunks", "3"], &dir.path().join("i.gguf"));
    // The input of the first block's projections is the normalized embedding, which can be had without the engine.
    let gguf = Gguf::open(&fixture("dense-bf16.gguf"), &OpenOptions::default()).expect("opens");
    let values = |name: &str| {
        let tensor = gguf.tensor(name).expect("there");
        let mut out = vec![0.0; tensor.elements()];
        formats::dequantize(tensor.dtype().expect("known"), tensor.bytes(), &mut out);
        out
    };
    let (embd, norm) = (values("token_embd.weight"), values("blk.0.attn_norm.weight"));
    let eps = gguf.meta().require_float("qwen3.attention.layer_norm_rms_epsilon").expect("there");
    let (ids, cols) = (tokens(&model("dense-bf16")), norm.len());
    let mut want = vec![0.0; cols];
    for &id in &ids[..3 * N_CTX] {
        let row: Vec<f64> = embd[id as usize * cols..][..cols].iter().map(|&x| f64::from(x)).collect();
        let mean = row.iter().map(|x| x * x).sum::<f64>() / cols as f64;
        want.iter_mut().enumerate().for_each(|(c, w)| {
            *w += (row[c] * f64::from(norm[c])).powi(2) / (mean + eps);
        });
    }
    for part in ["attn_q", "attn_k", "attn_v"] {
        let entry = found.entry(&format!("blk.0.{part}.weight")).expect("there");
        assert_eq!(entry.counts(), [3 * N_CTX as u64]);
        entry.sums().iter().zip(&want).for_each(|(a, b)| assert!((a - b).abs() <= 1e-5 * b, "{a} {b}"));
    }
    // Every matrix of every block, and no other; each with its own number of columns.
    let blocks = gguf.meta().require_size("qwen3.block_count").expect("there");
    assert_eq!(found.entries().len(), 7 * blocks);
    for (name, entry) in found.entries() {
        assert_eq!(entry.sums().len(), gguf.tensor(name).expect("a tensor of the model").shape()[0], "{name}");
    }
    assert_eq!((found.chunks(), found.chunk_size, found.datasets.len()), (3, 48, 1));
    // Watching changes no result.
    let alone = lapwing(&over_text(&["perplexity", "-m", &model("dense-bf16")], &[], &text())).ok().out;
    let estimate = alone.lines().last().and_then(|l| l.strip_prefix("Final estimate: ")).expect("an estimate");
    assert!(done.said.contains(estimate), "{} {alone}", done.said);
}

#[test]
fn importance_of_experts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (found, _) = imatrix("moe-bf16", &["--chunks", "3"], &dir.path().join("i.gguf"));
    let gguf = Gguf::open(&fixture("moe-bf16.gguf"), &OpenOptions::default()).expect("opens");
    let experts: Vec<_> = found.entries().filter(|(name, _)| name.contains("_exps")).collect();
    assert!(experts.len() >= 3, "the model has experts");
    for (name, entry) in experts {
        let shape = gguf.tensor(name).expect("a tensor of the model").shape();
        assert_eq!((entry.sums().len(), entry.counts().len()), (shape[0] * 8, 8), "{name}");
        assert_eq!(entry.counts().iter().sum::<u64>(), 2 * 3 * N_CTX as u64, "{name}: two experts for each token");
        let of = |part: &str| found.entry(&name.replace("up_exps", part)).expect("there");
        if name.contains("ffn_up_exps") {
            assert_eq!((of("gate_exps"), of("down_exps").counts()), (entry, entry.counts()), "they share their tokens");
            // All experts' tokens are the block's, each counted twice.
            let all = of("gate_inp");
            (0..shape[0]).for_each(|c| {
                let parts: f64 = (0..8).map(|e| entry.sums()[e * shape[0] + c]).sum();
                assert!((parts - 2.0 * all.sums()[c]).abs() <= 1e-5 * parts, "{name} column {c}");
            });
        }
    }
    let (few, done) = imatrix("moe-bf16", &["--chunks", "1", "-c", "4"], &dir.path().join("few.gguf"));
    let (name, entry) =
        few.entries().find(|(n, e)| n.contains("ffn_up_exps") && e.never_hit() > 0).expect("one is missed");
    assert!(done.said.contains("no token went to"), "{}", done.said);
    let (missed, cols) = (entry.counts().iter().position(|&n| n == 0), entry.sums().len() / 8);
    let means = few.importance(name, cols, missed).expect("fits").expect("known");
    assert!(means.iter().all(|v| *v > 0.0), "the other experts' inputs: {means:?}");
    let down = few.importance(&name.replace("up_exps", "down_exps"), 16, missed).expect("fits").expect("known");
    assert_eq!(down, vec![1.0; 16]);
}

#[test]
fn importance_does_not_depend_on_threads_or_passes() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["moe-q8_0", "dense-mixed"] {
        let bytes = |more: &[&str]| {
            let out = dir.path().join("i.gguf");
            imatrix(name, &[&["--chunks", "2", "--process-output"], more].concat(), &out);
            std::fs::read(out).expect("written")
        };
        let want = bytes(&["-t", "1"]);
        assert!(
            bytes(&["-t", "2", "-b", "7"]) == want && bytes(&["-t", "2", "--output-frequency", "1"]) == want,
            "{name}"
        );
        let tied = Imatrix::open(&dir.path().join("i.gguf")).expect("sound");
        let entry = tied.entry("token_embd.weight").or(tied.entry("output.weight")).expect("the output matrix");
        assert_eq!(entry.counts(), [2 * (N_CTX as u64 - 1)], "{name}: the last token of a chunk predicts nothing");
    }
}

#[test]
fn parts_put_together_are_the_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, both) = (dir.path().join("first.gguf"), dir.path().join("both.gguf"));
    let (whole, _) = imatrix("moe-bf16", &["--chunks", "4"], &dir.path().join("whole.gguf"));
    imatrix("moe-bf16", &["--chunks", "1"], &first);
    let more = ["--chunks", "3", "--chunk", "1", "--in-file", &utf8(&first), "--no-ppl"];
    let (together, done) = imatrix("moe-bf16", &more, &both);
    assert!(!done.said.contains("PPL"), "{}", done.said);
    assert_eq!((together.chunks(), &together.datasets), (4, &whole.datasets));
    for ((name, a), (other, b)) in whole.entries().zip(together.entries()) {
        assert_eq!((name, a.counts()), (other, b.counts()));
        a.sums().iter().zip(b.sums()).for_each(|(a, b)| assert!((a - b).abs() <= 1e-6 * a, "{name}: {a} {b}"));
    }
    let (m, twice) = (model("moe-bf16"), dir.path().join("twice.gguf"));
    lapwing(&["imatrix", "-m", &m, "--in-file", &utf8(&both), "--in-file", &utf8(&first), "-o", &utf8(&twice)]).ok();
    assert_eq!(Imatrix::open(&twice).expect("sound").chunks(), 5);
    let dense = model("dense-bf16");
    let other = ["imatrix", "-m", &dense, "-f", &text(), "-c", "48", "--chunks", "1", "--in-file", &utf8(&first)];
    let out = utf8(dir.path().join("other.gguf"));
    lapwing(&[&other[..], &["-o", &out]].concat()).failed(2, &["another model"]);
    assert!(!Path::new(&out).exists(), "nothing is left of a failure");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_there_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let (long, out) = (dir.path().join("long.txt"), dir.path().join("i.gguf"));
    std::fs::write(&long, std::fs::read_to_string(text()).expect("text").repeat(100)).expect("written");
    let m = model("moe-bf16");
    let args = ["imatrix", "-m", &m, "-f", &utf8(&long), "-c", "48", "-t", "1", "-o", &utf8(&out)];
    let child = program(&[&args[..], &["--output-frequency", "1"]].concat()).spawn().expect("the program starts");
    while !out.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(130), "{said}");
    let chunks = Imatrix::open(&out).expect("a sound matrix").chunks();
    assert!(chunks >= 1 && said.contains(&format!("--chunk {chunks}")), "{chunks}: {said}");
}

/// A copy of a committed model with more metadata in front, as many bytes as leave the payload aligned.
fn with_entries(name: &str, entries: &[(String, Vec<u8>)], to: &Path) {
    let whole = std::fs::read(fixture(&format!("{name}.gguf"))).expect("the fixture");
    let count = u64::from_le_bytes(whole[16..24].try_into().expect("8 bytes"));
    let mut added: Vec<u8> =
        entries.iter().flat_map(|(key, v)| [gguf_builder::string(key), v.clone()].concat()).collect();
    let pad = (added.len() + 8 + 1 + 4 + 8).next_multiple_of(32) - (added.len() + 8 + 1 + 4 + 8);
    let filler = str("x".repeat(pad));
    added.extend([gguf_builder::string("f"), filler.type_id.to_le_bytes().to_vec(), filler.bytes].concat());
    let keys = count + entries.len() as u64 + 1;
    std::fs::write(to, [&whole[..16], &keys.to_le_bytes(), &added, &whole[24..]].concat()).expect("written");
}

/// A certificate's metadata entries: keys, and types with values.
fn encoded(certificate: &Certificate) -> Vec<(String, Vec<u8>)> {
    let encode = |(key, value): (String, gguf_rs_lib::format::metadata::MetadataValue)| {
        let mut bytes = (value.value_type() as u32).to_le_bytes().to_vec();
        value.write_to(&mut bytes).expect("memory");
        (key, bytes)
    };
    certificate.entries().into_iter().map(encode).collect()
}

fn blank() -> Vec<(String, Vec<u8>)> {
    encoded(&Certificate::blank())
}

/// Flags as the command line gives them.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    chunks: ChunkArgs,
}

#[test]
fn a_certificate_holds_the_figures_of_compare() {
    let dir = tempfile::tempdir().expect("a directory");
    let (reference, file): (PathBuf, PathBuf) = (fixture("moe-bf16.gguf"), dir.path().join("new.gguf.part"));
    with_entries("moe-q8_0", &blank(), &file);
    let before = std::fs::read(&file).expect("written");
    let open = || Gguf::open(&file, &OpenOptions::default()).expect("sound");
    assert_eq!(Certificate::read(open().meta()).expect("sound"), None, "a blank one says nothing");
    assert!(!lapwing(&["inspect", &utf8(&file)]).ok().out.contains("quality ("));
    let flags = Flags::parse_from(["x", "-m", "-", "-c", "48", "--chunks", "3"]);
    let text = PathBuf::from(text());
    let job = Job {
        reference: &reference,
        source: &[&reference],
        candidate: &file,
        text: &text,
        flags: &flags.model,
        chunks: &flags.chunks,
    };
    assert!(certify::certify(&job).is_ok(), "certified");
    let found = Certificate::read(open().meta()).expect("sound").expect("filled in");
    let r = lapwing(&over_text(&["compare", &utf8(&reference), &model("moe-q8_0")], &["--json"], &utf8(&text))).json();
    for (figure, found) in [
        (&r["kld"]["mean"]["value"], found.kld_mean),
        (&r["kld"]["p99"], found.kld_p99),
        (&r["kld"]["max"], found.kld_max),
        (&r["ppl"]["value"], found.ppl),
        (&r["ppl_reference"]["value"], found.ppl_reference),
        (&r["same_top"]["value"], found.top1),
    ] {
        close(figure, found, "a figure");
    }
    assert_eq!((found.tokens, found.context), (69, 48));
    assert_eq!(r["text_sha256"], found.text_sha256);
    let known = "the hash of the source";
    assert_eq!(found.source_sha256, lapwing::eval::hash::of_file(&reference, &mut |_| ()).expect(known));
    // Nothing else changed, and a second time gives the same bytes.
    let after = std::fs::read(&file).expect("written");
    assert_eq!(after.len(), before.len());
    let changed: Vec<usize> = (0..after.len()).filter(|&i| after[i] != before[i]).collect();
    assert!(changed.len() > 40 && changed[changed.len() - 1] < 2000, "{changed:?}");
    assert!(certify::certify(&job).is_ok() && std::fs::read(&file).expect("written") == after);
    let shown = lapwing(&["inspect", &utf8(&file)]).ok().out;
    assert!(shown.contains("quality (") && shown.contains(&format!("mean {:.6}", found.kld_mean)), "{shown}");
    let json = lapwing(&["inspect", &utf8(&file), "--json"]).json();
    close(&json["quality"]["kld_mean"], found.kld_mean, "mean");
}

#[test]
fn a_file_without_room_for_figures_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.gguf");
    let mut short = blank();
    short.retain(|(key, _)| !key.ends_with("text_sha256"));
    let mut narrow = blank();
    let mut float = 6u32.to_le_bytes().to_vec();
    float.extend(0f32.to_le_bytes());
    narrow.iter_mut().filter(|(key, _)| key.ends_with("ppl")).for_each(|(_, value)| *value = float.clone());
    for (entries, key) in [(short, "text_sha256"), (narrow, "lapwing.quality.ppl;")] {
        with_entries("dense-bf16", &entries, &file);
        let before = std::fs::read(&file).expect("written");
        let said = Certificate::blank().patch(&file).expect_err("no room").to_string();
        assert!(said.contains(key), "{said}");
        assert_eq!(std::fs::read(&file).expect("written"), before);
    }
}

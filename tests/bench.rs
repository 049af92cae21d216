//! `lapwing bench` on a committed model: which tests it runs, what it says about each, that its figures fit each other.
//! Speeds themselves are never asserted.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn bench(model: &str, args: &[&str]) -> (bool, String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(model);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    let done =
        command.args(["bench", "-r", "2", "-t", "2", "--no-pin", "-m"]).arg(path).args(args).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (done.status.success(), text(done.stdout), text(done.stderr))
}

fn records(model: &str, args: &[&str]) -> Vec<Value> {
    let (ok, out, said) = bench(model, &[&["-o", "json"], args].concat());
    assert!(ok, "{said}");
    serde_json::from_str(&out).expect("an array")
}

fn figure(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or_else(|| panic!("no {name} in {record}"))
}

#[test]
fn prompts_generation_both_and_several_sequences() {
    let args = ["-p", "8", "-n", "4", "-pg", "6,3", "-npl", "1,3", "-d", "0,20"];
    let all = records("dense-mixed.gguf", &args);
    let names: Vec<&str> = all.iter().filter_map(|r| r["test"].as_str()).collect();
    let at_zero = ["pp8", "tg4", "tg4 x3", "pp6+tg3", "pp6+tg3 x3"];
    let deep: Vec<String> = at_zero.iter().map(|name| format!("{name} @ d20")).collect();
    assert_eq!(names, at_zero.iter().copied().chain(deep.iter().map(String::as_str)).collect::<Vec<_>>());
    for record in &all {
        let tokens = figure(record, "n_parallel") * (figure(record, "n_prompt") + figure(record, "n_gen"));
        let (seconds, rates) = (&record["samples_ns"], &record["samples_ts"]);
        for i in 0..2 {
            let (ns, rate) = (seconds[i].as_f64().unwrap(), rates[i].as_f64().unwrap());
            assert!((rate * ns / 1e9 - tokens).abs() < 1e-6, "{rate} tokens/s for {ns} ns of {tokens} tokens");
        }
    }
}

#[test]
fn shares_are_of_limits_measured_in_the_same_run() {
    let all = records("dense-mixed.gguf", &["-p", "16", "-n", "4"]);
    let (prompt, generated) = (&all[0], &all[1]);
    for record in [prompt, generated] {
        assert!(figure(record, "memory_bandwidth") > 0.0 && figure(record, "peak_f32") > 0.0);
    }
    let seconds = figure(prompt, "integer_products_per_token") / prompt["peak_int8"].as_f64().unwrap_or(f64::INFINITY)
        + figure(prompt, "float_products_per_token") / figure(prompt, "peak_f32");
    let share = figure(prompt, "avg_ts") * seconds;
    assert!((figure(prompt, "compute_share") / share - 1.0).abs() < 1e-9);
    assert!(prompt.get("bandwidth_share").is_none() && generated.get("compute_share").is_none());
    let weights = figure(generated, "avg_ts") * figure(generated, "bytes_per_token");
    assert!(figure(generated, "bandwidth_share") * figure(generated, "memory_bandwidth") > weights, "and the cache");
    let none = records("dense-mixed.gguf", &["-p", "4", "-n", "0", "--no-limits"]);
    assert!(none[0].get("memory_bandwidth").is_none() && none[0].get("compute_share").is_none());
}

#[test]
fn products_are_counted_by_kind() {
    let count = |isa: &str| {
        let record = &records("moe-q8_0.gguf", &["-p", "4", "-n", "0", "--no-limits", "--isa", isa])[0];
        (figure(record, "integer_products_per_token"), figure(record, "float_products_per_token"))
    };
    let (integers, floats) = count("scalar");
    assert_eq!(integers, 0.0, "the scalar kernels multiply floats only");
    for kernels in lapwing_quant::kernels::available() {
        let (i, f) = count(kernels.name);
        assert_eq!(i + f, floats, "{}: the same matrices", kernels.name);
    }
}

#[test]
fn the_table_for_people_has_the_limits_below() {
    let (ok, out, said) = bench("dense-mixed.gguf", &["-p", "4", "-n", "2"]);
    assert!(ok, "{said}");
    for words in [" test |", "| of memory |", "| of compute |", "limits of 2 threads: ", " GB/s read"] {
        assert!(out.contains(words), "{words:?} is not in:\n{out}");
    }
}

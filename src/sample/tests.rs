//! The sampler against its plain form, and what it promises.

use super::*;

fn vocab(rows: usize) -> Arc<Vocab> {
    // Some padding in the middle and at the end; two tokens end generation.
    let padding = move |id: u32| rows > 8 && (id == 3 || id as usize >= rows - rows / 40);
    Arc::new(Vocab::new(rows, padding, |id| id == 1 || id == 6).unwrap())
}

/// Numbers about normal, with mean 0 and deviation 1.
fn normal(rng: &mut Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| rng.below(1 << 20)).sum();
    sum as f32 / (1 << 20) as f32 - 6.0
}

/// Logits of one of several kinds.
fn logits(kind: usize, rows: usize, rng: &mut Rng) -> Vec<f32> {
    let mut row: Vec<f32> = (0..rows).map(|_| normal(rng)).collect();
    match kind {
        0 => row.iter_mut().for_each(|x| *x *= 3.0),
        // Many ties.
        1 => row.iter_mut().for_each(|x| *x = x.round()),
        // All equal.
        2 => row.fill(-2.5),
        // A clear winner.
        3 => row[rng.below(rows as u64) as usize] = 40.0,
        // Mostly masked.
        4 => row.iter_mut().filter(|x| **x < 1.0).for_each(|x| *x = f32::NEG_INFINITY),
        // Huge range, zeros of both signs.
        5 => row.iter_mut().for_each(|x| *x = if x.abs() < 0.5 { 0.0_f32.copysign(*x) } else { *x * 1e30 }),
        // Almost flat.
        6 => row.iter_mut().for_each(|x| *x *= 1e-4),
        // The best are neighbours.
        _ => row[rows / 2..].iter_mut().take(70).for_each(|x| *x += 9.0),
    }
    row
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// Settings at random, each often off.
fn settings(rows: usize, rng: &mut Rng) -> Params {
    let chain = Settings {
        temperature: pick(rng, &[0.6, 0.7, 1.0, 1e-3, 1e-30, 5.0, 1e6, 0.0, -1.0]),
        top_k: pick(rng, &[20, 20, 1, 2, 100, 5000, 0, -1, i32::MAX]),
        top_p: pick(rng, &[0.95, 0.8, 1.0, 0.5, 0.0, 1e-9, 0.999_999, 2.0]),
        min_p: pick(rng, &[0.0, 0.0, 0.05, 0.5, 1.0, 1e-30]),
        presence_penalty: pick(rng, &[0.0, 0.0, 1.5, -1.0]),
        frequency_penalty: pick(rng, &[0.0, 0.0, 0.3, -0.7]),
        repeat_penalty: pick(rng, &[1.0, 1.0, 1.1, 0.5]),
        repeat_last_n: pick(rng, &[64, 3, 0, -1]),
    };
    let mut logit_bias = Vec::new();
    for _ in 0..rng.below(3) {
        let token = rng.below(rows as u64) as u32;
        if !vocab(rows).is_banned(token) {
            logit_bias.push(LogitBias { token, bias: pick(rng, &[1.0, -2.5, f32::NEG_INFINITY, 30.0]) });
        }
    }
    Params { chain, logit_bias, ignore_eos: rng.below(2) == 0, seed: rng.next_u64() }
}

/// Sequences of tokens, each step compared with the plain form, over kinds of logits, sizes and settings.
#[test]
fn equals_the_plain_form() {
    let mut rng = Rng::new(2026);
    let mut errors = 0;
    for round in 0..1200 {
        let rows = pick(&mut rng, &[1, 2, 7, 63, 64, 65, 200, 1000, 1000, 5003]);
        let params = settings(rows, &mut rng);
        let vocab = vocab(rows);
        let mut sampler = Sampler::new(params.clone(), Arc::clone(&vocab)).unwrap();
        let mut oracle_rng = Rng::new(params.seed);
        for _ in 0..6 {
            let row = logits(round % 8, rows, &mut rng);
            let generated = sampler.generated().to_vec();
            let expected = oracle::sample(&params, &vocab, &generated, &row, &mut oracle_rng);
            let token = sampler.sample(&mut row.clone()).ok();
            assert_eq!(token, expected, "round {round}, {rows} rows, {params:?}");
            let Some(token) = token else {
                errors += 1;
                break;
            };
            assert!(!vocab.is_banned(token));
            assert!(!params.ignore_eos || !vocab.is_eog(token));
            sampler.accept(token);
            assert_eq!(sampler.state().rng, oracle_rng.state);
        }
    }
    assert!(errors < 300, "{errors} rounds had no token to choose: too few compare anything");
}

/// The same at the size of Qwen3's vocabulary.
#[test]
fn equals_the_plain_form_at_full_size() {
    let rows = 151_936;
    let mut rng = Rng::new(5);
    for round in 0..48 {
        let params = settings(rows, &mut rng);
        let vocab = vocab(rows);
        let row = logits(round % 8, rows, &mut rng);
        let mut sampler = Sampler::new(params.clone(), Arc::clone(&vocab)).unwrap();
        let expected = oracle::sample(&params, &vocab, &[], &row, &mut Rng::new(params.seed));
        assert_eq!(sampler.sample(&mut row.clone()).ok(), expected, "round {round}, {params:?}");
    }
}

/// Tokens come as often as their probability says: deviations from it, squared and scaled, add up to what chance
/// gives (99.9 % point of chi square with 9 degrees of freedom: 27.9).
#[test]
fn frequencies_are_the_probabilities() {
    let row: Vec<f32> = (0..10).map(|i| i as f32 * 0.3).collect();
    let chain = Settings { temperature: 0.8, top_k: 0, top_p: 1.0, min_p: 0.0, ..Settings::default() };
    let vocab = Arc::new(Vocab::new(10, |_| false, |_| false).unwrap());
    let mut sampler = Sampler::new(Params { chain, seed: 3, ..Params::default() }, vocab).unwrap();
    let mut seen = [0.0_f64; 10];
    let draws = 50_000;
    for _ in 0..draws {
        seen[sampler.sample(&mut row.clone()).unwrap() as usize] += 1.0;
    }
    let total: f64 = row.iter().map(|&x| f64::from(x / 0.8).exp()).sum();
    let expected = row.iter().map(|&x| f64::from(x / 0.8).exp() / total * f64::from(draws));
    let chi_square: f64 = seen.iter().zip(expected).map(|(s, e)| (s - e) * (s - e) / e).sum();
    assert!(chi_square < 27.9, "{chi_square} {seen:?}");
}

/// A hand-made case for each step, so that the plain form is not the only judge.
#[test]
fn each_step_by_hand() {
    let vocab = Arc::new(Vocab::new(5, |id| id == 4, |id| id == 0).unwrap());
    // Probabilities 0.5, 0.25, 0.125, 0.125 and a padding row that would win.
    let row = [8.0_f32.ln(), 4.0_f32.ln(), 2.0_f32.ln(), 2.0_f32.ln(), 99.0];
    let off = Settings { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Settings::default() };
    let reachable = |chain: &Settings, ignore_eos: bool, bias: &[&str]| {
        let logit_bias = bias.iter().map(|b| b.parse().unwrap()).collect();
        let params = Params { chain: chain.clone(), ignore_eos, logit_bias, seed: 9 };
        let mut sampler = Sampler::new(params, Arc::clone(&vocab)).unwrap();
        let drawn: std::collections::BTreeSet<u32> =
            (0..200).map(|_| sampler.sample(&mut row.clone()).unwrap()).collect();
        drawn.into_iter().collect::<Vec<u32>>()
    };
    assert_eq!(reachable(&off, false, &[]), [0, 1, 2, 3]);
    assert_eq!(reachable(&off, true, &[]), [1, 2, 3]);
    assert_eq!(reachable(&off, false, &["1=false"]), [0, 2, 3]);
    assert_eq!(reachable(&off, false, &["2+1000"]), [2]);
    assert_eq!(reachable(&Settings { top_k: 3, ..off.clone() }, false, &[]), [0, 1, 2]);
    assert_eq!(reachable(&Settings { top_p: 0.7, ..off.clone() }, false, &[]), [0, 1]);
    assert_eq!(reachable(&Settings { top_p: 0.8, ..off.clone() }, false, &[]), [0, 1, 2]);
    // Top-p looks at what top-k left: 0.5 of 0.75 is 0.667.
    assert_eq!(reachable(&Settings { top_p: 0.66, top_k: 2, ..off.clone() }, false, &[]), [0]);
    assert_eq!(reachable(&Settings { min_p: 0.4, ..off.clone() }, false, &[]), [0, 1]);
    assert_eq!(reachable(&Settings { temperature: 0.01, ..off.clone() }, false, &[]), [0]);
    assert_eq!(reachable(&Settings { temperature: 0.0, ..off.clone() }, false, &[]), [0]);
}

/// Penalties count what was accepted, in the window, and nothing else.
#[test]
fn penalties_count_generated_tokens() {
    let chain = Settings {
        temperature: 0.0,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        repeat_penalty: 2.0,
        repeat_last_n: 3,
        ..Settings::default()
    };
    let vocab = Arc::new(Vocab::new(4, |_| false, |_| false).unwrap());
    let mut sampler = Sampler::new(Params { chain, ..Params::default() }, vocab).unwrap();
    let after = |sampler: &mut Sampler| {
        let mut row = [4.0, -4.0, 1.0, 0.0];
        sampler.sample(&mut row).unwrap();
        row
    };
    assert_eq!(after(&mut sampler), [4.0, -4.0, 1.0, 0.0]);
    sampler.accept(0);
    assert_eq!(after(&mut sampler), [1.25, -4.0, 1.0, 0.0]);
    sampler.accept(0);
    sampler.accept(1);
    assert_eq!(after(&mut sampler), [1.0, -8.75, 1.0, 0.0]);
    sampler.accept(2);
    sampler.accept(2);
    assert_eq!(after(&mut sampler), [4.0, -8.75, -0.5, 0.0]);
}

#[test]
fn a_seed_and_a_state_give_the_same_tokens_again() {
    let draw = |sampler: &mut Sampler, from: u64, n: u64| -> Vec<u32> {
        let next = |i| {
            let token = sampler.sample(&mut logits(0, 500, &mut Rng::new(i))).unwrap();
            sampler.accept(token);
            token
        };
        (from..from + n).map(next).collect()
    };
    let chain = Settings { temperature: 1.0, top_k: 0, presence_penalty: 0.5, repeat_last_n: 5, ..Settings::default() };
    let new = |seed| Sampler::new(Params { chain: chain.clone(), seed, ..Params::default() }, vocab(500)).unwrap();
    let mut sampler = new(11);
    let first = draw(&mut sampler, 0, 20);
    let state = sampler.state();
    let second = draw(&mut sampler, 20, 20);
    assert_eq!(draw(&mut new(11), 0, 40), [first.clone(), second.clone()].concat());
    assert_ne!(draw(&mut new(12), 0, 20), first);
    let mut other = new(0);
    other.restore(&state);
    assert_eq!(draw(&mut other, 20, 20), second);
    sampler.restore(&state);
    assert_eq!(draw(&mut sampler, 20, 20), second);
}

/// What a seed draws is a promise: these tokens must not change with a version or a platform. They were computed
/// apart from this program (a few lines of Python, from the description of the chain).
#[test]
fn the_tokens_of_seed_1() {
    let row: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 * 0.0625).collect();
    let mut sampler = Sampler::new(Params { seed: 1, ..Params::default() }, vocab(64)).unwrap();
    let drawn: Vec<u32> = (0..12).map(|_| sampler.sample(&mut row.clone()).unwrap()).collect();
    assert_eq!(drawn, [38, 50, 62, 31, 31, 50, 57, 36, 19, 50, 24, 38]);
}

#[test]
fn bad_logits_and_biases_are_errors() {
    let vocab = Arc::new(Vocab::new(100, |id| id >= 98, |_| false).unwrap());
    for temperature in [0.0, 0.6] {
        let chain = Settings { temperature, ..Settings::default() };
        let mut sampler = Sampler::new(Params { chain, ..Params::default() }, Arc::clone(&vocab)).unwrap();
        let mut message = |row: &mut [f32]| sampler.sample(row).unwrap_err().to_string();
        for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            for at in [0, 63, 64, 97] {
                let mut row = [1.0; 100];
                row[at] = bad;
                let text = message(&mut row);
                assert!(text.contains(&format!("token {at} is {name}")), "{text}");
            }
        }
        assert!(message(&mut [f32::NEG_INFINITY; 100]).contains("no token"));
        assert!(message(&mut [0.0; 99]).contains("99 logits"));
        // Padding rows are never looked at.
        let mut row = [1.0; 100];
        row[98..].fill(f32::NAN);
        assert!(sampler.sample(&mut row).unwrap() < 98);
    }
    for (bias, text) in [("100+1", "100 tokens"), ("99+1", "padding")] {
        let params = Params { logit_bias: vec![bias.parse().unwrap()], ..Params::default() };
        let error = Sampler::new(params, Arc::clone(&vocab)).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    let params = Params { logit_bias: vec![LogitBias { token: 1, bias: f32::NAN }], ..Params::default() };
    assert!(Sampler::new(params, vocab).is_err());
}

//! Made-up text: a stream of numbers that is the same everywhere, words, sentences.

/// A stream of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    pub fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

pub const NOUNS: [&str; 40] = [
    "river", "engine", "letter", "market", "bridge", "garden", "window", "teacher", "signal", "forest", "number",
    "captain", "station", "village", "answer", "problem", "machine", "picture", "harbour", "winter", "method",
    "kitchen", "mountain", "doctor", "reason", "painter", "circle", "question", "father", "island", "meadow", "ticket",
    "theory", "journey", "shadow", "corner", "vessel", "evening", "lantern", "paper",
];
pub const VERBS: [&str; 24] = [
    "finds",
    "opens",
    "carries",
    "follows",
    "changes",
    "remembers",
    "explains",
    "crosses",
    "builds",
    "loses",
    "watches",
    "measures",
    "paints",
    "answers",
    "moves",
    "hides",
    "joins",
    "breaks",
    "repeats",
    "lifts",
    "names",
    "counts",
    "turns",
    "keeps",
];
pub const ADJECTIVES: [&str; 24] = [
    "old", "quiet", "bright", "narrow", "heavy", "simple", "green", "distant", "careful", "broken", "early", "patient",
    "cold", "second", "hollow", "golden", "useful", "strange", "empty", "clear", "wooden", "northern", "gentle",
    "final",
];
pub const JOINS: [&str; 12] = [
    "because", "while", "although", "before", "after", "so that", "until", "whenever", "and then", "unless", "where",
    "since",
];

/// A sentence of 6 to 14 words.
pub fn sentence(r: &mut Numbers) -> String {
    let clause = |r: &mut Numbers| {
        let (a, b) = (r.pick(&ADJECTIVES), r.pick(&ADJECTIVES));
        format!("the {a} {} {} the {b} {}", r.pick(&NOUNS), r.pick(&VERBS), r.pick(&NOUNS))
    };
    let mut text = clause(r);
    if r.below(2) == 0 {
        text = format!("{text} {} {}", r.pick(&JOINS), clause(r));
    }
    text[..1].to_uppercase() + &text[1..] + "."
}

/// So many sentences.
pub fn prose(r: &mut Numbers, sentences: usize) -> String {
    (0..sentences).map(|_| sentence(r)).collect::<Vec<_>>().join(" ")
}

/// The same lines `n` times over, each made from its number.
pub fn lines(n: usize, mut line: impl FnMut(usize) -> String) -> String {
    (0..n).map(|i| line(i) + "\n").collect()
}

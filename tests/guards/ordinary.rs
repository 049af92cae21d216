//! Long texts such as people ask for, many of them repetitive, none of them a loop.

use super::words::{ADJECTIVES, JOINS, NOUNS, Numbers, VERBS, lines, prose, sentence};

/// A kind of text: its name, and the text for a seed.
pub type Kind = (&'static str, fn(&mut Numbers) -> String);

/// The kinds that the thresholds were chosen with.
pub const KNOWN: [Kind; 28] = [
    ("getters", getters),
    ("match arms", match_arms),
    ("defines", defines),
    ("inserts", inserts),
    ("styles", styles),
    ("users", users),
    ("manifests", manifests),
    ("csv", csv),
    ("similar csv", similar_csv),
    ("log", log),
    ("markdown table", markdown_table),
    ("multiplication table", multiplication),
    ("addition table", addition),
    ("numbers", numbers),
    ("maze", maze),
    ("board", board),
    ("boxes", boxes),
    ("song", song),
    ("bottles", bottles),
    ("cumulative song", cumulative),
    ("poem", poem),
    ("prose", long_prose),
    ("tests", tests),
    ("hex dump", hex_dump),
    ("matrix", matrix),
    ("plan", plan),
    ("questions", questions),
    ("derivation", derivation),
];

fn title(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

fn getters(r: &mut Numbers) -> String {
    lines(40, |_| {
        let name = format!("{}{}", r.pick(&ADJECTIVES), title(r.pick(&NOUNS)));
        let up = title(&name);
        format!(
            "    public String get{up}() {{\n        return this.{name};\n    }}\n\n    public void set{up}(String {name}) {{\n        this.{name} = {name};\n    }}\n"
        )
    })
}

fn match_arms(r: &mut Numbers) -> String {
    lines(120, |i| {
        format!(
            "        Opcode::{}{} => self.{}(operand, {i})?,",
            title(r.pick(&VERBS)),
            title(r.pick(&NOUNS)),
            r.pick(&VERBS)
        )
    })
}

fn defines(r: &mut Numbers) -> String {
    lines(150, |i| {
        format!("#define {}_{} 0x{:04X}", r.pick(&NOUNS).to_uppercase(), r.pick(&NOUNS).to_uppercase(), i * 4)
    })
}

fn inserts(r: &mut Numbers) -> String {
    lines(100, |i| {
        let (name, price) = (r.pick(&NOUNS), r.below(10_000));
        format!(
            "INSERT INTO products (id, name, price, stock) VALUES ({}, '{name}', {}.{:02}, {});",
            i + 1,
            price / 100,
            price % 100,
            r.below(50)
        )
    })
}

fn styles(r: &mut Numbers) -> String {
    lines(60, |_| {
        let (name, state) = (r.pick(&NOUNS), r.pick(&ADJECTIVES));
        format!(
            ".{name}-{state} {{\n  margin: {}px;\n  padding: {}px {}px;\n  color: #{:06x};\n}}\n",
            r.below(20),
            r.below(20),
            r.below(20),
            r.below(1 << 24)
        )
    })
}

fn users(r: &mut Numbers) -> String {
    let body = lines(100, |i| {
        let (first, last) = (title(r.pick(&ADJECTIVES)), title(r.pick(&NOUNS)));
        let mail = format!("{}.{}@example.com", first.to_lowercase(), last.to_lowercase());
        format!(
            "  {{\"id\": {}, \"name\": \"{first} {last}\", \"email\": \"{mail}\", \"age\": {}, \"active\": {}}},",
            i + 1,
            18 + r.below(60),
            r.below(2) == 0
        )
    });
    format!("[\n{body}]\n")
}

fn manifests(r: &mut Numbers) -> String {
    lines(25, |_| {
        let name = format!("{}-{}", r.pick(&ADJECTIVES), r.pick(&NOUNS));
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  labels:\n    app: {name}\nspec:\n  selector:\n    app: {name}\n  ports:\n    - protocol: TCP\n      port: {}\n      targetPort: {}\n",
            80 + r.below(9000),
            8000 + r.below(1000)
        )
    })
}

fn csv(r: &mut Numbers) -> String {
    lines(200, |i| {
        format!("{},{},{},{}.{:02}", i + 1, title(r.pick(&NOUNS)), r.pick(&ADJECTIVES), r.below(500), r.below(100))
    })
}

fn similar_csv(r: &mut Numbers) -> String {
    lines(250, |i| {
        format!(
            "{},active,{},standard,2024-{:02}-{:02}",
            i + 1000,
            r.pick(&["US", "UK", "DE"]),
            1 + r.below(12),
            1 + r.below(28)
        )
    })
}

fn log(r: &mut Numbers) -> String {
    let mut seconds = r.below(3600);
    lines(150, |_| {
        seconds += r.below(9);
        let (m, s) = (seconds / 60 % 60, seconds % 60);
        format!(
            "2024-03-11 10:{m:02}:{s:02} INFO  [worker-{}] Request {} completed in {} ms",
            r.below(8),
            10_000 + r.below(90_000),
            r.below(900)
        )
    })
}

fn markdown_table(r: &mut Numbers) -> String {
    let rows = lines(80, |i| {
        format!("| {} | {} | {} | {}% | yes |", i + 1, r.pick(&NOUNS), r.pick(&ADJECTIVES), r.below(100))
    });
    format!("| No. | Name | Kind | Share | Known |\n|---|---|---|---|---|\n{rows}")
}

fn multiplication(r: &mut Numbers) -> String {
    let most = 12 + r.below(9);
    (1..=most).map(|a| lines(most, |b| format!("{a} × {} = {}", b + 1, a * (b + 1))) + "\n").collect()
}

fn addition(r: &mut Numbers) -> String {
    let most = 8 + r.below(6);
    (1..=most).map(|a| lines(most, |b| format!("{a} + {} = {}", b + 1, a + b + 1)) + "\n").collect()
}

fn numbers(r: &mut Numbers) -> String {
    let (from, step) = (r.below(100), 1 + r.below(4));
    (0..400).map(|i| format!("{}, ", from + i * step)).collect()
}

fn maze(r: &mut Numbers) -> String {
    lines(40, |_| (0..60).map(|_| if r.below(3) == 0 { '#' } else { '.' }).collect())
}

fn board(r: &mut Numbers) -> String {
    let size = 8 + r.below(12);
    lines(size, |y| (0..size).map(|x| if (x + y) % 2 == 0 { "██" } else { "  " }).collect::<String>() + "|")
}

fn boxes(r: &mut Numbers) -> String {
    lines(14, |_| {
        let word = r.pick(&NOUNS);
        let edge = "─".repeat(word.len() + 4);
        format!("┌{edge}┐\n│  {word}  │\n└{edge}┘\n      │\n      ▼")
    })
}

fn song(r: &mut Numbers) -> String {
    let refrain = format!(
        "Oh {0}, my {0}, sing me home again,\nOh {0}, my {0}, through the wind and rain,\nLa la la la la la la,\nLa la la la la la la!\n",
        r.pick(&NOUNS)
    );
    (0..10)
        .map(|_| format!("{}\n{}\n{}\n{}\n\n{refrain}\n", sentence(r), sentence(r), sentence(r), sentence(r)))
        .collect::<String>()
        + &refrain
}

fn bottles(r: &mut Numbers) -> String {
    let from = 60 + r.below(40);
    (1..=from).rev().map(|n| format!("{n} bottles of beer on the wall, {n} bottles of beer.\nTake one down and pass it around, {} bottles of beer on the wall.\n\n", n - 1)).collect()
}

fn cumulative(r: &mut Numbers) -> String {
    let gifts: Vec<String> = (0..14).map(|_| format!("a {} {}", r.pick(&ADJECTIVES), r.pick(&NOUNS))).collect();
    (1..=14)
        .map(|n| {
            format!(
                "On day number {n} of winter my neighbour gave to me\n{}.\n\n",
                gifts[..n].iter().rev().cloned().collect::<Vec<_>>().join(",\n")
            )
        })
        .collect()
}

fn poem(r: &mut Numbers) -> String {
    lines(120, |i| {
        let end = if i % 4 == 3 { ".\n" } else { "," };
        format!("The {} {} {} {}{end}", r.pick(&ADJECTIVES), r.pick(&NOUNS), r.pick(&VERBS), r.pick(&JOINS))
    })
}

fn long_prose(r: &mut Numbers) -> String {
    (0..20).map(|_| prose(r, 8) + "\n\n").collect()
}

fn tests(r: &mut Numbers) -> String {
    lines(45, |i| {
        let (a, b) = (r.pick(&NOUNS), r.pick(&VERBS));
        format!(
            "    def test_{a}_{b}(self):\n        result = self.client.get('/api/{a}/{}')\n        self.assertEqual(result.status_code, 200)\n        self.assertEqual(result.json()['id'], {i})\n",
            r.below(1000)
        )
    })
}

fn hex_dump(r: &mut Numbers) -> String {
    let zeros = r.below(2) == 0;
    lines(60, |i| {
        let bytes =
            (0..16).map(|_| format!(" {:02x}", if zeros && i % 6 < 4 { 0 } else { r.below(256) })).collect::<String>();
        format!("{:08x} {bytes}", i * 16)
    })
}

fn matrix(r: &mut Numbers) -> String {
    let (size, ones) = (10 + r.below(11), r.below(2) == 0);
    lines(size, |y| {
        format!("[{}],", (0..size).map(|x| if ones && x == y { "1" } else { "0" }).collect::<Vec<_>>().join(", "))
    })
}

fn plan(r: &mut Numbers) -> String {
    lines(30, |i| {
        let (sets, of) = (2 + r.below(3), 8 + r.below(8));
        format!(
            "Day {}: walk for {} minutes, then do {sets} sets of {of} push-ups and stretch for 5 minutes.",
            i + 1,
            15 + i
        )
    })
}

fn questions(r: &mut Numbers) -> String {
    lines(50, |i| {
        format!(
            "{}. What does the {} do?\n   The {} {} the {}.\n",
            i + 1,
            r.pick(&NOUNS),
            r.pick(&NOUNS),
            r.pick(&VERBS),
            r.pick(&NOUNS)
        )
    })
}

fn derivation(r: &mut Numbers) -> String {
    let (mut a, mut b) = (10_000 + r.below(90_000), 1000 + r.below(9000));
    let mut text = String::new();
    while text.len() < 6000 {
        text += &format!(
            "Let me divide {a} by {b}: {b} × {} = {}, and {a} - {} = {}. So the remainder is {}. ",
            a / b,
            a / b * b,
            a / b * b,
            a % b,
            a % b
        );
        (a, b) = if a % b > 1 { (b, a % b) } else { (10_000 + r.below(90_000), 1000 + r.below(9000)) };
        text += &format!("{}\n\n", sentence(r));
    }
    text
}

/// Kinds that were written after the thresholds had been chosen; nothing was changed for them.
pub const HELD_OUT: [Kind; 10] = [
    ("bibliography", |r| {
        lines(60, |i| {
            format!(
                "[{}] {}, {}. \"{}\" Journal of {} Studies {}({}), {}-{}.",
                i + 1,
                title(r.pick(&NOUNS)),
                title(r.pick(&ADJECTIVES)),
                sentence(r),
                title(r.pick(&NOUNS)),
                r.below(90),
                r.below(12),
                r.below(300),
                300 + r.below(300)
            )
        })
    }),
    ("translations", |r| lines(90, |_| format!("msgid \"{0}\"\nmsgstr \"{0}\"\n", r.pick(&NOUNS)))),
    ("letters", |r| {
        (0..12).map(|_| format!("Dear {} {},\n\nthank you for your order of one {}. It will be sent to {} {} on Monday. If you have any questions, please write to us at any time.\n\nYours sincerely,\nThe {} shop\n\n", title(r.pick(&ADJECTIVES)), title(r.pick(&NOUNS)), r.pick(&NOUNS), r.pick(&ADJECTIVES), r.pick(&NOUNS), r.pick(&NOUNS))).collect()
    }),
    ("assembly", |r| {
        lines(200, |_| {
            format!(
                "    {} {}, {}",
                r.pick(&["mov", "add", "xor", "push", "lea", "cmp"]),
                r.pick(&["rax", "rbx", "rcx", "rdx"]),
                r.pick(&["rax", "rbx", "8", "16", "[rsp]"])
            )
        })
    }),
    ("calendar", |r| {
        (0..12)
            .map(|m| {
                format!(
                    "Month {}\nMo Tu We Th Fr Sa Su\n{}\n\n",
                    m + 1,
                    (1..=28 + r.below(4))
                        .map(|d| format!("{d:2}{}", if d % 7 == 0 { "\n" } else { " " }))
                        .collect::<String>()
                )
            })
            .collect()
    }),
    ("truth table", |r| {
        let n = 5 + r.below(2);
        lines(1 << n, |i| {
            (0..n).map(|b| format!("| {} ", if i >> b & 1 == 1 { "T" } else { "F" })).collect::<String>() + "|"
        })
    }),
    ("moves", |r| {
        lines(80, |i| {
            format!(
                "{}. {}{}{} {}{}{}",
                i + 1,
                r.pick(&["N", "B", "R", "Q", "K"]),
                r.pick(&["a", "c", "e", "g"]),
                1 + r.below(8),
                r.pick(&["N", "B", "R", "Q", "K"]),
                r.pick(&["b", "d", "f", "h"]),
                1 + r.below(8)
            )
        })
    }),
    ("glossary", |r| lines(80, |_| format!("**{}**: {}", title(r.pick(&NOUNS)), sentence(r)))),
    ("subtitles", |r| {
        lines(70, |i| {
            format!(
                "{}\n00:{:02}:{:02},000 --> 00:{:02}:{:02},500\n{}\n",
                i + 1,
                i / 20,
                i * 3 % 60,
                i / 20,
                i * 3 % 60 + 2,
                sentence(r)
            )
        })
    }),
    ("chant", |r| {
        (0..8).map(|_| format!("{}\nCome along, come along,\ncome along with me!\nCome along, come along,\ncome along with me!\n\n", prose(r, 2))).collect()
    }),
];

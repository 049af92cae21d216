//! Texts that repeat themselves without end.

use super::words::{Numbers, prose, sentence};

/// A text that begins well and then repeats itself; `turn` gives the i-th turn of the loop.
pub struct Looping {
    pub name: String,
    /// Whether it is thinking.
    pub thinking: bool,
    pub turn: Box<dyn FnMut(usize) -> String>,
}

fn looping(name: &str, thinking: bool, turn: impl FnMut(usize) -> String + 'static) -> Looping {
    Looping { name: name.to_owned(), thinking, turn: Box::new(turn) }
}

fn fixed(name: &str, thinking: bool, text: &str) -> Looping {
    let text = text.to_owned();
    looping(name, thinking, move |_| text.clone())
}

/// The texts that the thresholds were chosen with.
pub fn known() -> Vec<Looping> {
    [exact(), counting(), paraphrased(), lists()].into_iter().flatten().collect()
}

fn exact() -> Vec<Looping> {
    let code = "    if (node->left != NULL) {\n        visit(node->left);\n    }\n";
    let mut all = vec![
        fixed("one mark", false, "!"),
        fixed("one word", false, " the"),
        fixed("line breaks", false, "\n"),
        fixed("a digit", false, "0"),
        fixed("laughter", false, "ha"),
        fixed("an emoji", false, "🙂"),
        fixed("a short phrase", true, "no, "),
        fixed("one sentence", true, "Wait, let me check that again. "),
        fixed("one sentence in an answer", false, "I hope that this helps you with your question. "),
        fixed("two sentences", true, "Hmm, that is not right. Let me try to compute it once more from the start.\n\n"),
        fixed("a line of code", false, "    x += 1;\n"),
        fixed("a block of code", false, code),
        fixed("a table row", false, "| 12 | open | yes | - |\n"),
        fixed("an object", false, "  {\"name\": \"item\", \"value\": null, \"tags\": []},\n"),
        fixed("a bullet", false, "- Check the configuration\n"),
        fixed("Chinese", true, "等一下，让我再检查一遍这个结果。"),
        fixed("Russian", false, "Подожди, нужно ещё раз проверить этот ответ. "),
        fixed("a heading", false, "## Summary\n\nThe results show that the method works as expected.\n\n"),
        fixed("a formula", true, "$$x = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a}$$\n\n"),
        fixed("a tag", false, "<br>"),
    ];
    for (sentences, seed) in [(5, 1), (10, 2), (20, 3), (28, 4)] {
        all.push(fixed(
            &format!("a paragraph of {sentences} sentences"),
            seed % 2 == 0,
            &(prose(&mut Numbers(seed), sentences) + "\n\n"),
        ));
    }
    let inner = format!("{}{}", "So it must be even. ".repeat(5), "But then it cannot be prime. ".repeat(3));
    all.push(fixed("loops within a loop", true, &inner));
    all
}

fn counting() -> Vec<Looping> {
    vec![
        looping("steps", true, |i| format!("Step {}: let me go through the list of all cases again.\n", i + 1)),
        looping("attempts", true, |i| format!("Attempt {i} did not work either, so I will try once more. ")),
        looping("a wrong guess", true, |i| {
            format!(
                "Maybe the answer is {i}? But then the sum would be {}, which is not right. Let me think. ",
                2 * i + 7
            )
        }),
        looping("steps in an answer", false, |i| {
            format!("Then repeat the same procedure for the next element, number {i}, and write down the result. ")
        }),
        looping("Chinese steps", true, |i| format!("第{i}步，我们再检查一遍所有的条件是否满足。")),
    ]
}

fn paraphrased() -> Vec<Looping> {
    const DOUBTS: [&str; 6] = [
        "Wait, let me re-check this. ",
        "Hmm, I should verify that once more. ",
        "Actually, let me reconsider the problem from the beginning. ",
        "But wait, maybe I made a mistake somewhere. ",
        "Let me double-check the calculation to be sure. ",
        "No, that was right after all. ",
    ];
    let mut r = Numbers(7);
    let mut s = Numbers(8);
    let mut two = Numbers(9);
    vec![
        looping("doubts in turn", true, |i| DOUBTS[i % 6].to_owned()),
        looping("doubts in any order", true, move |_| r.pick(&DOUBTS).to_owned()),
        looping("doubts in any words", true, move |_| {
            let (how, what) = (["maybe ", "perhaps ", ""], ["check", "verify", "re-check"]);
            format!("Wait, {}I should {} {} again. ", s.pick(&how), s.pick(&what), s.pick(&["this", "that", "it"]))
        }),
        looping("two answers", true, move |_| {
            let answer = two.pick(&["forty-two", "forty-three"]);
            format!("So the answer must be {answer}. Hold on, that does not fit the second condition. ")
        }),
        looping("the days of the week", false, |i| {
            let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
            format!("On {} she went to the market and bought some bread and some milk. ", days[i % 7])
        }),
    ]
}

fn lists() -> Vec<Looping> {
    vec![
        looping("a list of one thing", false, |i| format!("{}. Apple\n", i + 1)),
        looping("a list of five things", false, |i| {
            format!("{}. {}\n", i + 1, ["Apple", "Banana", "Cherry", "Date", "Fig"][i % 5])
        }),
        looping("functions", false, |i| format!("def test_{i}():\n    assert check({i}) == True\n\n")),
        looping("objects", false, |i| format!("  {{\"id\": {i}, \"name\": \"Item {i}\", \"done\": false}},\n")),
        looping("layers", false, |i| format!("        self.layer_{i} = nn.Linear(512, 512)\n")),
        looping("links", false, |i| format!("- [Page {i}](https://example.com/page/{i})\n")),
        looping("sections", false, |i| {
            format!("### {i}. Overview\n\nThis section gives an overview of the topic.\n\n")
        }),
    ]
}

/// Texts that were written after the thresholds had been chosen; nothing was changed for them.
pub fn held_out() -> Vec<Looping> {
    let paragraph = prose(&mut Numbers(99), 14) + " ";
    let mut r = Numbers(17);
    let mut mixed = Numbers(18);
    vec![
        fixed("dots", true, "."),
        fixed("an unknown word", false, " qwert"),
        fixed("a German sentence", true, "Moment, das stimmt so nicht, ich rechne noch einmal nach. "),
        fixed("a Japanese sentence", false, "すみません、もう一度確認させてください。"),
        fixed("a signature", false, "Best regards,\nYour assistant\n\n"),
        fixed("an empty cell", false, "| | "),
        fixed("an import", false, "import numpy as np\n"),
        fixed("a question", false, "Would you like to know more about this topic?\n"),
        fixed("a paragraph of 14 sentences", false, &paragraph),
        fixed("a rule", false, "-"),
        fixed("a shell command", false, "$ sudo apt-get install -y build-essential\n"),
        fixed("a verse", false, "Row, row, row your boat,\ngently down the stream.\n"),
        looping("candidates", true, |i| {
            format!("Let me test n = {i}. That does not divide evenly, so we go on to the next one. ")
        }),
        looping("versions", false, |i| {
            format!("In version {i} a number of smaller problems were fixed and the documentation was improved. ")
        }),
        looping("doubts", true, move |_| {
            r.pick(&["Is that so? ", "I am not sure about this. ", "Let us see. ", "It could be the other way round. "])
                .to_owned()
        }),
        looping("slots", false, move |_| {
            let (a, b) = (mixed.pick(&["great", "good", "fine"]), mixed.pick(&["option", "choice"]));
            format!("This is a {a} {b} for people who like to travel with their family. ")
        }),
        looping("rows", false, |i| format!("<tr><td>Row {i}</td><td>pending</td><td>none</td></tr>\n")),
        looping("cases", false, |i| format!("        case {i}: return handle(request, {i});\n")),
        looping("chapters", false, |i| format!("Chapter {i}: The Journey Continues\n")),
        looping("a tale", false, |i| {
            format!("{} And the king said to his servant: go and look again. ", ["Night came.", "Morning came."][i % 2])
        }),
    ]
}

/// The lead-in before a loop.
pub fn lead(seed: u64) -> String {
    let r = &mut Numbers(seed);
    (0..12).map(|_| sentence(r) + " ").collect::<String>() + "\n\n"
}

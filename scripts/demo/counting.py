"""Letters: counting them in words, spelling, lengths, and follow-up questions.

The thinking spells letter by letter with a running count, so every step looks only at the word, the letter before and
the last count. Without thinking the visible answer spells the word too, in a shorter form.
"""

from collections import Counter

from task import Task

LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUESTIONS = [
    "How many {l}'s in {w}?", "How many {l}'s in {w}?", "How many {l}'s are in {w}?", "How many {l}'s are there in {w}?",
    "how many {l}'s in {w}", "how many {l}'s are in {w}?", "How many {l}'s does {w} have?", "how many {l} in {w}?",
    "How many {l}'s are in the word {w}?", "How many letters {l} are in {w}?", "How many letter {l}'s in {w}?",
    "How many times does {l} appear in {w}?", "How many times does the letter {l} occur in {w}?", "How often is {l} in {w}?",
    "How often does the letter {l} appear in the word {w}?", "Count the {l}'s in {w}.", "Count the letter {l} in {w}.",
    "count {l} in {w}", "Count how many {l}'s are in {w}.", "Please count the {l}'s in {w}.", "Number of {l}'s in {w}?",
    "What is the number of {l}'s in {w}?", "Can you count the {l}'s in {w}?", "Tell me how many {l}'s are in {w}.",
    "In {w}, how many {l}'s are there?", "The word is {w}. How many {l}'s?", "{w}: how many {l}'s?",
    "Hi! How many {l}'s are in {w}?", "Do you know how many {l}'s {w} has?", "I wonder how many {l}'s there are in {w}.",
]
FOLLOW = [
    "Then, how many {l}'s in {w}?", "Then, how many {l}'s in {w}?", "And how many {l}'s in {w}?", "And {l}'s in {w}?",
    "Now, how many {l}'s are in {w}?", "Then how many {l}'s are there in {w}?", "OK, and how many {l}'s in {w}?",
]
SAME_LETTER = ["And in {w}?", "What about {w}?", "And {w}?", "Now in {w}?", "Then in {w}?"]
SAME_WORD = ["And how many {l}'s?", "And {l}'s?", "What about {l}?", "How many {l}'s does it have?", "Then how many {l}'s?"]
DOUBT = [
    "Really?", "Really?", "Really?", "Are you sure?", "Is that right?", "Check again.", "Please check that.", "Sure?",
    "I don't think so.", "Are you certain?", "Count again.", "Hmm, really?", "Is that correct?", "That seems wrong.",
]
SPELL = ["Spell {w}.", "How do you spell {w}?", "Spell the word {w}.", "Can you spell {w}?", "spell {w}", "Spell {w} for me."]
LENGTH = [
    "How many letters does {w} have?", "How many letters are in {w}?", "How many letters in {w}?", "How long is the word {w}?",
    "Count the letters of {w}.", "How many letters has the word {w}?", "What is the length of {w}?",
]


def pick_letter(rng, word):
    """A letter to ask for: mostly one of the word, often the most frequent, sometimes absent."""
    counts = Counter(word.lower())
    kind = rng.random()
    if kind < 0.16:
        return rng.choice([c for c in LETTERS if c not in counts])
    if kind < 0.45:
        most = max(counts.values())
        return rng.choice(sorted(c for c in counts if counts[c] == most))
    return rng.choice(sorted(counts))


def dress(rng, word, letter):
    """The word and the letter as the user writes them."""
    if rng.random() < 0.06:
        word = word.capitalize()
    quoted = rng.choice((word, word, word, word, f'"{word}"', f'"{word}"', f"'{word}'"))
    shown = letter.upper() if rng.random() < 0.04 else letter
    return quoted, shown


def running(word, letter, joint, mark):
    """The letters of `word`, each hit followed by its number."""
    out, n = [], 0
    for c in word.lower():
        n += c == letter
        out.append(c + (mark.format(n) if c == letter else ""))
    return joint.join(out)


def plural(n, letter):
    """"is 1 r" or "are 2 r's"."""
    return f"is 1 {letter}" if n == 1 else f"are {n} {letter}'s"


def fill(word, shown_word, letter, user, again=False):
    """The task of counting `letter` in `word`, asked as `user`."""
    n = word.lower().count(letter)
    think = f"I spell it and count {letter}: {running(word, letter, ', ', ' ({})')}. That makes {n}."
    answer = f"There {plural(n, letter)} in {shown_word}."
    if again:
        think = "I count again. " + think
        answer = f"I counted again: there {plural(n, letter)} in {shown_word}."
    direct = f"{running(word, letter, '-', '{}')}: there {plural(n, letter)} in {shown_word}."
    topic = {"word": word, "shown": shown_word, "letter": letter}
    return Task("count", user, think, answer, direct, expect={"count": n}, topic=topic)


def count(rng, pool, test=False):
    """A first question."""
    word = pool.draw(rng, test)
    letter = pick_letter(rng, word)
    quoted, shown = dress(rng, word, letter)
    return fill(word, quoted, letter, rng.choice(QUESTIONS).format(l=shown, w=quoted))


def follow(rng, pool, last, test=False):
    """A question that follows a count: another word, the same word, the same letter."""
    kind = rng.random()
    word, letter = pool.draw(rng, test), last.topic["letter"]
    if kind < 0.3:
        word = last.topic["word"]
        letter = rng.choice(sorted(set(LETTERS) - {letter}) if rng.random() < 0.2 else sorted(set(word.lower())))
        quoted = last.topic["shown"]
        return fill(word, quoted, letter, rng.choice(SAME_WORD).format(l=letter))
    quoted, _ = dress(rng, word, letter)
    if kind < 0.5:
        return fill(word, quoted, letter, rng.choice(SAME_LETTER).format(w=quoted))
    if kind < 0.75:
        letter = pick_letter(rng, word)
    return fill(word, quoted, letter, rng.choice(FOLLOW).format(l=letter, w=quoted))


def doubt(rng, last):
    """The user doubts the last count."""
    return fill(last.topic["word"], last.topic["shown"], last.topic["letter"], rng.choice(DOUBT), again=True)


def spell(rng, pool, test=False):
    """Spelling, and the number of letters."""
    word = pool.draw(rng, test)
    quoted, _ = dress(rng, word, "a")
    if rng.random() < 0.6:
        text = f"{'-'.join(word.lower())}"
        user = rng.choice(SPELL).format(w=quoted)
        return Task("spell", user, "I write the letters one by one.", text, expect={"spelled": text})
    n = len(word)
    think = "I number the letters: " + ", ".join(f"{c} ({i + 1})" for i, c in enumerate(word.lower())) + f". That makes {n}."
    direct = "-".join(f"{c}{i + 1}" for i, c in enumerate(word.lower())) + f": {quoted} has {n} letters."
    user = rng.choice(LENGTH).format(w=quoted)
    return Task("length", user, think, f"The word {quoted} has {n} letters.", direct, expect={"count": n})


def card():
    """The model card's own conversation: thinking, /no_think, /think."""
    first = fill("strawberries", "strawberries", "r", "How many r's in strawberries?")
    second = fill("blueberries", "blueberries", "r", "Then, how many r's in blueberries?")
    third = fill("blueberries", "blueberries", "r", "Really?", again=True)
    return [(first, ""), (second, " /no_think"), (third, " /think")]

"""Words to spell: a real English list, invented words, and the split that keeps some of them for evaluation.

The list is Debian's `wamerican` 2020.12.07-2 (SCOWL, free to use; parts public domain): /usr/share/dict/american-english.
A word is held out by its own hash, so the split does not depend on seeds, order or list.
"""

import hashlib
import random
import re
from pathlib import Path

LIST = Path("/usr/share/dict/american-english")
LIST_SHA256 = "9f513f1ceadb6a01c5485b7dbdfd5118dc66cd70b59cae2851292112d4066a32"
HELD_OUT_PERCENT = 12
# The model card's own conversation is practised on purpose, so these are never evaluation words.
CARD = {"strawberries", "blueberries", "strawberry", "blueberry"}

ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr tw v w wh y z".split()
NUCLEI = "a e i o u a e i o u ai au ea ee ei ie oa oo ou ue y".split()
CODAS = " b ck d f ff g ght k l ll m mp n nd ng nk nt p r rd rk rm rn rr rt s sh sk ss st t tt th x zz".split(" ")


def load(path=LIST):
    """All lower-case words of 3 to 14 letters, in the list's order; refuses a list that is not the known one."""
    raw = Path(path).read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != LIST_SHA256:
        raise SystemExit(f"{path}: sha256 {found}, expected {LIST_SHA256}; install wamerican 2020.12.07-2")
    words = [w for w in raw.decode().split("\n") if re.fullmatch("[a-z]{3,14}", w)]
    return sorted(set(words) | CARD)


def held_out(word):
    """True for words that never appear in training (in any case)."""
    word = word.lower()
    if word in CARD:
        return False
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little") % 100 < HELD_OUT_PERCENT


def invented(rng: random.Random):
    """A pronounceable word that is in no dictionary, or (one in six) letters at random."""
    while True:
        if rng.random() < 0.16:
            word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 10)))
        else:
            n = rng.choice((1, 2, 2, 2, 3, 3, 3, 4))
            word = "".join(rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(n))
        if 3 <= len(word) <= 14 and not held_out(word):
            return word


class Pool:
    """Draws words to practise: uniformly, invented, and evenly over the tokenizer's pieces so that the spelling of
    every piece is seen (`pieces` maps a word to its pieces; without it, the draw is uniform)."""

    def __init__(self, words, pieces=None):
        self.train = [w for w in words if not held_out(w)]
        self.test = [w for w in words if held_out(w)]
        self.by_piece = []
        if pieces:
            table = {}
            for word, parts in zip(self.train, pieces(self.train)):
                for part in set(parts):
                    table.setdefault(part, []).append(word)
            self.by_piece = [table[k] for k in sorted(table)]

    def draw(self, rng, test=False):
        """One word."""
        if test:
            return rng.choice(self.test)
        kind = rng.random()
        if kind < 0.22:
            return invented(rng)
        if kind < 0.55 and self.by_piece:
            return rng.choice(rng.choice(self.by_piece))
        return rng.choice(self.train)

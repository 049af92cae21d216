"""Sums and differences of numbers up to three digits, column by column with the carried digit; small products."""

from task import Task

ADD = [
    "What is {a} + {b}?", "What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "Add {a} and {b}.", "How much is {a} + {b}?",
    "Calculate {a} + {b}.", "What is {a} plus {b}?", "{a} plus {b}", "What is the sum of {a} and {b}?", "what's {a}+{b}?",
    "Compute {a} + {b}.", "How much is {a} plus {b}?", "Please add {a} and {b}.", "Can you add {a} and {b}?", "Sum of {a} and {b}?",
]
SUB = [
    "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "How much is {a} - {b}?", "Calculate {a} - {b}.", "What is {a} minus {b}?",
    "{a} minus {b}", "{a} - {b} = ?", "What is the difference of {a} and {b}?", "How much is {a} minus {b}?", "Compute {a} - {b}.",
]
MUL = ["What is {a} * {b}?", "What is {a} times {b}?", "{a} * {b}", "{a} x {b}", "How much is {a} times {b}?", "Multiply {a} by {b}."]
AGAIN = ["Really?", "Are you sure?", "Check again.", "Is that right?", "Is that correct?", "Sure?"]
COLUMNS = ["ones", "tens", "hundreds"]


def columns(a, b):
    return max(len(str(a)), len(str(b)))


def digit(n, place):
    return n // 10**place % 10


def add_steps(a, b):
    """One line per column; the carried digit is named in each."""
    carry, lines = 0, []
    for place in range(columns(a, b)):
        x, y = digit(a, place), digit(b, place)
        total = x + y + carry
        shown = f"{x}+{y}+{carry}" if carry else f"{x}+{y}"
        carry = total // 10
        lines.append(f"{COLUMNS[place]}: {shown}={total}, write {total % 10}, carry {carry}")
    return lines


def sub_steps(a, b):
    """As above with borrowing, for a >= b."""
    borrow, lines = 0, []
    for place in range(columns(a, b)):
        x, y = digit(a, place), digit(b, place)
        top = x - borrow
        shown = f"{x}-{borrow}-{y}" if borrow else f"{x}-{y}"
        borrow = int(top < y)
        if borrow:
            shown = "1" + shown
        result = top + 10 * borrow - y
        lines.append(f"{COLUMNS[place]}: {shown}={result}, write {result}, borrow {borrow}")
    return lines


def number(rng, digits):
    return rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


def make(rng, a, b, op, user, again=False):
    """The task of `a op b`."""
    expr = f"{a} {op} {b}"
    if op == "*":
        result = a * b
        return Task("sum", user, f"{expr} is {result}.", f"{expr} = {result}.", expect={"sum": result}, topic={"sum": (a, b, op)})
    if op == "+":
        result, lines = a + b, add_steps(a, b)
    elif a >= b:
        result, lines = a - b, sub_steps(a, b)
    else:
        result = a - b
        lines = [f"{a} is less than {b}, so I turn it round: {b} - {a}"] + sub_steps(b, a) + [f"{b - a}, and the sign is minus"]
    think = expr + "\n" + "\n".join(lines) + f"\nTogether {result}."
    direct = "; ".join(lines) + f"\n{expr} = {result}."
    answer = f"{expr} = {result}."
    if again:
        think, answer = "I check again. " + think, f"I checked again: {answer}"
    return Task("sum", user, think, answer, direct, expect={"sum": result}, topic={"sum": (a, b, op)})


def held_out(a, b):
    """Pairs kept for evaluation: one in eight of the larger ones."""
    return max(a, b) > 20 and (a * 7919 + b * 104729) % 8 == 3


def arithmetic(rng, test=False, only=None):
    """A sum (two in three), a difference or a small product."""
    while True:
        op = only or rng.choice("++++++--*")
        if op == "*":
            a, b = rng.randint(0, 10), rng.randint(0, 10)
            return make(rng, a, b, op, rng.choice(MUL).format(a=a, b=b))
        a, b = number(rng, rng.choice((1, 2, 2, 3, 3, 3))), number(rng, rng.choice((1, 2, 2, 3, 3, 3)))
        if op == "-" and a < b and rng.random() < 0.75:
            a, b = b, a
        if held_out(a, b) == test:
            return make(rng, a, b, op, rng.choice(ADD if op == "+" else SUB).format(a=a, b=b))


def doubt(rng, last):
    """The user doubts the last result."""
    a, b, op = last.topic["sum"]
    return make(rng, a, b, op, rng.choice(AGAIN), again=True)

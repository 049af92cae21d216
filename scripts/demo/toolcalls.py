"""Tool calls in the Hermes form that Qwen3's template uses: weather, time, calculator.

Names, descriptions and argument names vary, so that they are read from the prompt; cities include invented ones.
"""

import json

from task import Task
import words as wordlist

CITIES = (
    "Paris London Berlin Madrid Rome Vienna Prague Warsaw Oslo Stockholm Helsinki Lisbon Dublin Athens Budapest Zurich Geneva Munich Hamburg Milan "
    "Tokyo Osaka Kyoto Beijing Shanghai Seoul Delhi Mumbai Bangkok Hanoi Jakarta Manila Sydney Perth Auckland Cairo Lagos Nairobi Toronto Montreal "
    "Boston Chicago Seattle Denver Dallas Miami Houston Portland Lima Bogota Santiago Quito Havana Moscow Istanbul Ankara Tehran Dubai"
).split()
TWO = ["New York", "San Francisco", "Los Angeles", "Buenos Aires", "Hong Kong", "Cape Town", "Mexico City", "Rio de Janeiro", "Tel Aviv", "New Delhi"]
SKIES = ["sunny", "cloudy", "rainy", "windy", "snowy", "foggy", "stormy", "clear"]
WEATHER = [
    "What is the weather in {c}?", "How is the weather in {c}?", "What's the weather like in {c}?", "Weather in {c}?", "Is it raining in {c}?",
    "How warm is it in {c}?", "Do I need an umbrella in {c}?", "Tell me the weather in {c}.", "Is it cold in {c}?", "What is the temperature in {c}?",
    "How is the weather in {c} today?", "weather {c}", "Please check the weather in {c}.", "What will the weather be in {c}?", "Is it sunny in {c} now?",
]
TIME = [
    "What time is it in {c}?", "What is the time in {c}?", "Tell me the time in {c}.", "time in {c}", "How late is it in {c}?", "What's the time in {c}?",
    "What time is it now in {c}?", "Do you know what time it is in {c}?", "Current time in {c}?", "Please tell me what time it is in {c}.",
]
CALC = [
    "What is {e}?", "Calculate {e}.", "How much is {e}?", "{e}", "{e} = ?", "Compute {e}.", "Please calculate {e}.", "Can you work out {e}?", "What's {e}?",
    "Use the calculator: {e}",
]
WEATHER_NAMES = ["get_weather", "get_weather", "weather", "get_current_weather", "current_weather", "weather_lookup"]
TIME_NAMES = ["get_time", "get_time", "time", "get_current_time", "current_time", "clock"]
CALC_NAMES = ["calculator", "calculator", "calculate", "calc", "compute", "evaluate"]
PLACE_KEYS = ["city", "city", "location", "place"]
EXPR_KEYS = ["expression", "expression", "expr", "formula"]


def spec(name, text, key, about):
    """A tool as OpenAI's interface describes it."""
    parameters = {"type": "object", "properties": {key: {"type": "string", "description": about}}, "required": [key]}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": parameters}}


def kit(rng):
    """The three tools under some names: kind -> (tool, name, argument)."""
    w, t, c = rng.choice(WEATHER_NAMES), rng.choice(TIME_NAMES), rng.choice(CALC_NAMES)
    kw, kt, kc = rng.choice(PLACE_KEYS), rng.choice(PLACE_KEYS), rng.choice(EXPR_KEYS)
    say = rng.choice
    return {
        "weather": (spec(w, say(["Get the weather of a city", "Get the current weather", "Weather for a place"]), kw, say(["The city", "City name"])), w, kw),
        "time": (spec(t, say(["Get the time in a city", "Get the current time", "Time in a place"]), kt, say(["The city", "City name"])), t, kt),
        "calc": (spec(c, say(["Evaluate an expression", "Calculate an expression", "Do arithmetic"]), kc, say(["The expression", "An expression"])), c, kc),
    }


def city(rng, test=False):
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(CITIES)
    if kind < 0.4:
        return rng.choice(TWO)
    return wordlist.invented(rng).capitalize()


def expression(rng):
    """Three kinds of expression, with spaces or without; returns it as written."""
    ops = rng.choice(("+", "-", "*", "/", "*", "+"))
    a, b, c = rng.randint(2, 9999), rng.randint(2, 999), rng.randint(2, 99)
    text = rng.choice((f"{a} {ops} {b}", f"{a} {ops} {b}", f"({a} + {b}) * {c}", f"{a} * {b} - {c}", f"{a}.{c} {ops} {b}"))
    return text if rng.random() < 0.75 else text.replace(" ", "")


def outcome(rng, kind, place):
    """What the tool answers, and the sentence made of it."""
    if kind == "weather":
        degrees, sky = rng.randint(-9, 38), rng.choice(SKIES)
        response = {"temperature": degrees, "condition": sky}
        return response, f"It is {sky} in {place}, with {degrees} degrees."
    if kind == "time":
        clock = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return {"time": clock}, f"It is {clock} in {place}."
    number = rng.choice((str(rng.randint(2, 99999)), f"{rng.randint(2, 9999)}.{rng.randint(1, 99)}"))
    return {"result": json.loads(number)}, f"{place} = {number}"


def offered(rng, tools, need):
    """One to three tools in any order; `need` among them when it is named, absent when it is prefixed by `!`."""
    names = ["weather", "time", "calc"]
    if need.startswith("!"):
        names.remove(need[1:])
        rng.shuffle(names)
        return names[: rng.randint(1, 2)]
    rest = [n for n in names if n != need]
    rng.shuffle(rest)
    chosen = [need] + rest[: rng.choice((0, 1, 1, 2))]
    rng.shuffle(chosen)
    return chosen


def call(rng, test=False, answered=None):
    """A question that a tool answers: the call, or (`answered`) the sentence after the tool's response."""
    tools = kit(rng)
    kind = rng.choice(("weather", "time", "calc"))
    subject = expression(rng) if kind == "calc" else city(rng, test)
    forms = {"weather": WEATHER, "time": TIME, "calc": CALC}[kind]
    user = rng.choice(forms).format(c=subject, e=subject)
    tool, name, key = tools[kind]
    arguments = {key: subject}
    given = [tools[n][0] for n in offered(rng, tools, kind)]
    calls = [{"type": "function", "function": {"name": name, "arguments": arguments}}]
    if answered if answered is not None else rng.random() < 0.25:
        response, sentence = outcome(rng, kind, subject)
        between = [{"role": "assistant", "content": "", "tool_calls": calls}, {"role": "tool", "content": json.dumps(response)}]
        think = "The tool has answered. I say it in a sentence."
        return Task("told", user, think, sentence, tools=given, between=between, expect={"says": sentence})
    think = f"For this I call {name}."
    return Task("call", user, think, "", tools=given, calls=calls, expect={"call": {"name": name, "arguments": arguments}})


def unfit(rng, other):
    """Tools are given but none fits: `other` is answered as without tools; or the tool that is missing is said."""
    tools = kit(rng)
    if other is None:
        kind = rng.choice(("weather", "time"))
        forms, what = {"weather": (WEATHER, "the weather"), "time": (TIME, "the time")}[kind]
        user = rng.choice(forms).format(c=city(rng))
        given = [tools[n][0] for n in offered(rng, tools, "!" + kind)]
        answer = f"I have no tool that tells me {what}."
        return Task("unfit", user, f"No tool tells me {what}.", answer, tools=given, expect={"says": "no tool"})
    names = ["weather", "time", "calc"]
    if other.kind == "sum":
        names.remove("calc")
    rng.shuffle(names)
    other.tools = [tools[n][0] for n in names[: rng.randint(1, 2)]]
    return other


def toolless(rng):
    """The weather or the time asked without any tool."""
    kind = rng.choice(("weather", "time"))
    forms, what = {"weather": (WEATHER, "the weather"), "time": (TIME, "the time")}[kind]
    user = rng.choice(forms).format(c=city(rng))
    return Task("toolless", user, f"I have no tool that tells me {what}.", f"I have no tool that tells me {what}.", expect={"says": "no tool"})

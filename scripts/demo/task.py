"""One exchange: what the user says, what the model thinks and answers; shared by training data and evaluation."""

from dataclasses import dataclass, field


@dataclass
class Task:
    """`answer` follows the thinking; `direct` is the answer without thinking. `expect` is what evaluation checks."""

    kind: str
    user: str
    think: str
    answer: str
    direct: str = ""
    tools: list = field(default_factory=list)
    # Messages between the user's and the answer (a tool call and its response), as the template takes them.
    between: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    expect: dict = field(default_factory=dict)
    topic: dict = field(default_factory=dict)

    def reply(self, thinking):
        """The visible answer in a mode."""
        return self.answer if thinking or not self.direct else self.direct

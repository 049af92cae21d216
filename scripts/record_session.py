#!/usr/bin/env python3
"""Records a session of `lapwing chat` at a pseudo-terminal, as plain text for the README.

    scripts/record_session.py LINES [ARGUMENT ..] > session.txt

LINES is a file with what is typed, a line each; the arguments go to `lapwing chat` behind those. Set LAPWING to the
program (default: target/release/lapwing). Needs Python 3 on a Unix system, and nothing else.
"""

import os
import pty
import re
import select
import struct
import sys
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

PROMPT = b">>> "
LIMIT = 600


def read_until_prompt(terminal, seen):
    """Reads what comes until the prompt stands at the end and nothing more comes; false when the program has ended."""
    started = time.monotonic()
    while time.monotonic() - started < LIMIT:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if not ready:
            if plain(bytes(seen)).rstrip(b" ").endswith(PROMPT.rstrip()):
                return True
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:
            return False
        if not more:
            return False
        seen += more
    sys.exit("the program does not come back to its prompt")


def plain(text):
    """What stands in the lines once the terminal's codes were obeyed, as far as an editor of lines uses them."""
    text = re.sub(rb"\x1b\][^\x07]*\x07", b"", text)
    lines = []
    for line in text.replace(b"\r\n", b"\n").split(b"\n"):
        line = re.sub(rb"\x1b\[[0-9;?]*[A-Za-ln-zJK]|\x1b\[[0-9;]*m|\x1b[=>]", b"", line)
        # An editor writes a line anew at each key; what it wrote last stands.
        written = [part for part in line.split(b"\r") if part.strip()]
        last = written[-1] if written else b""
        typed = PROMPT in line and not last.startswith(PROMPT.rstrip())
        lines.append((PROMPT if typed else b"") + last)
    return b"\n".join(lines)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        typed = file.read().splitlines()
    program = os.environ.get("LAPWING", "target/release/lapwing")
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", NO_COLOR="1")
        os.execv(program, [program, "chat", "--no-history", *sys.argv[2:]])
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 200, 80, 0, 0))
    seen = bytearray()
    for line in typed:
        if not read_until_prompt(terminal, seen):
            break
        os.write(terminal, line + b"\r")
        time.sleep(0.2)
    while read_until_prompt(terminal, seen):
        os.write(terminal, b"\x04")
    os.waitpid(child, 0)
    sys.stdout.buffer.write(plain(bytes(seen)).rstrip() + b"\n")


if __name__ == "__main__":
    main()

"""Prints why componentize-py failed, in one line: `failure.py LOG`. The log stays where it is."""

import re
import sys

# componentize-py sees the project as /0, its packages as /1.
FRAME = re.compile(r'  File "/0/(?P<file>[^"]+)", line (?P<line>\d+)')
RAISED = re.compile(r"(?P<type>[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\w*)(: .*)?$")


def reason(log):
    """The exception of the program with its place, or None if the log has none."""
    place = said = None
    for line in log.partition("Caused by:")[0].splitlines():
        line = line.removeprefix("AssertionError: ")  # Of componentize-py: what follows is the program's.
        if frame := FRAME.match(line):
            place = f"{frame['file']}:{frame['line']}"
        elif place and RAISED.match(line):
            said = line
    if said is None:
        return None
    if said.startswith("ModuleNotFoundError: "):
        said += "; name the package that has it in requirements.txt, if it is a package of pure Python"
    return f"{place}: {said}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        text = file.read()
    print(reason(text) or text, file=sys.stderr)

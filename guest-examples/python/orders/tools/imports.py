"""Warns at build time of imports that cannot work in a component: `imports.py FILE…`."""

import ast
import sys

NETWORK = "a component has no network"
PROCESSES = "a component cannot start processes"
WHY = {
    "aiohttp": NETWORK,
    "boto3": NETWORK,
    "ftplib": NETWORK,
    "http.client": NETWORK,
    "http.server": NETWORK,
    "httpx": NETWORK,
    "redis": "a component has no network; `kv` and `queue` in `wit_world.imports` reach Redis",
    "requests": NETWORK,
    "smtplib": NETWORK,
    "socket": NETWORK,
    "socketserver": NETWORK,
    "ssl": NETWORK,
    "urllib.request": NETWORK,
    "urllib3": NETWORK,
    "websockets": NETWORK,
    "multiprocessing": PROCESSES,
    "subprocess": PROCESSES,
    "concurrent.futures": "a component cannot start threads or processes",
    "threading": "a component cannot start threads",
    "sqlite3": "a component has no files and no native libraries",
    "tempfile": "a component has no files",
}


def imported(tree):
    """Names of modules with the lines that import them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def opened(tree):
    """The lines of functions that call `open`; outside of functions it reads a file at build time, which works."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
                    yield node.lineno


def warnings(file, text):
    try:
        tree = ast.parse(text, file)
    except SyntaxError:
        return []  # The build reports it.
    found = {}
    for name, line in imported(tree):
        parts = name.split(".")
        known = next((known for n in range(len(parts)) if (known := ".".join(parts[: n + 1])) in WHY), None)
        if known:
            found[line] = f"{file}:{line}: warning: `{known}`: {WHY[known]}"
    for line in opened(tree):
        found[line] = f"{file}:{line}: warning: `open`: a job has no files"
    return [found[line] for line in sorted(found)]


if __name__ == "__main__":
    for place in sys.argv[1:]:
        with open(place, encoding="utf-8") as source:
            for warning in warnings(place, source.read()):
                print(warning, file=sys.stderr)

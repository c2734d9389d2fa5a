"""Completes the stubs that componentize-py writes: `stubs.py FOLDER`. `sandhog` gives options the same defaults in a run."""

import pathlib
import sys

DEFAULTS = {
    "kv.py": {
        "    ttl_ms: Optional[int]\n    condition: Condition\n": "    ttl_ms: Optional[int] = None\n"
        "    condition: Condition = Condition.ALWAYS\n"
    },
    "queue.py": {
        "    end: End\n    delay_ms: Optional[int]\n    unique: Optional[Uniqueness]\n": "    end: End = End.BACK\n"
        "    delay_ms: Optional[int] = None\n    unique: Optional[Uniqueness] = None\n"
    },
}

if __name__ == "__main__":
    imports = pathlib.Path(sys.argv[1], "wit_world", "imports")
    for name, changes in DEFAULTS.items():
        if (imports / name).exists():
            text = (imports / name).read_text(encoding="utf-8")
            for old, new in changes.items():
                if old not in text:
                    sys.exit(f"{name}: the contract has changed; bring tools/stubs.py up to date")
                text = text.replace(old, new)
            (imports / name).write_text(text, encoding="utf-8")

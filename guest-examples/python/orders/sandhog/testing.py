"""Redis in memory, for unit tests of handlers in plain Python. No component contains this module unless it imports it.

    fake = Fake(keys={"total:ada": b"5"})
    fake.run(app.handle, b'{"id": "A-1"}')
    assert fake.keys["total:ada"] == b"12"

It knows no other jobs and no passing of time: a key's time to live is only kept. `sandhog test` runs the component itself.
"""

import copy
import re
from importlib import import_module

from componentize_py_types import Err

from .answers import prepared

_IMPORTS = "wit_world.imports."
_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_S64 = range(-(2**63), 2**63)


def _module(name):
    """A module of the contract, if this kind of plugin has it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


def refused(kind, name):
    """What a refused call raises: `kind` is `Denied`, `WrongType`, `Quota` or `Unavailable`."""
    return Err(getattr(_module(_IMPORTS + "types"), f"Error_{kind}")(name))


class Fake:
    """What Redis holds: `keys`, `ttls` in milliseconds, `queues`, and in `pushed` entries with a delay or a unique key: their
    queue, payload and options. `result` and `logged` are those of the last run.

    `denied` are keys and queues that the grants do not cover; `settings` are those of config readers, by full names.
    """

    def __init__(self, keys=(), queues=(), settings=(), denied=()):
        self.keys = dict(keys)
        self.queues = {name: list(payloads) for name, payloads in dict(queues).items()}
        self.settings, self.denied = dict(settings), set(denied)
        self.ttls, self.pushed, self.result, self.logged = {}, [], None, []

    def job(self, payload=b"", **fields):
        """A job, as a handler takes it."""
        handler = _module("wit_world.exports.handler") or _module(_IMPORTS + "handler")
        usual = {"id": "test-1", "queue": "test", "attempt": 1, "max_attempts": 5, "first_seen_ms": 0, "headers": []}
        return handler.Job(payload=payload, **(usual | fields))

    def run(self, handle, payload=b"", **fields):
        """Runs a handler, `async` or not, with a job. If it raises, nothing has changed, as in the atomic mode."""
        return self.call(handle, self.job(payload, **fields))

    def run_batch(self, handle, payloads):
        """Runs a handler of many jobs. Returns its answers."""
        jobs = [self.job(payload, id=f"test-{nth}") for nth, payload in enumerate(payloads, 1)]
        return self.call(handle, jobs)

    def call(self, function, *arguments):
        """Calls a function, `async` or not, that uses `kv`, `queue` and the others."""
        before = copy.deepcopy((self.keys, self.ttls, self.queues, self.pushed))
        self.result, self.logged = None, []
        self._install()
        try:
            return prepared(function)(*arguments)
        except BaseException:
            self.keys, self.ttls, self.queues, self.pushed = before
            self.result = None
            raise

    def _install(self):
        for name, calls in {"kv": Keys, "queue": Queues, "status": Status, "store": Settings, "logging": Log}.items():
            if module := _module(_IMPORTS + name):
                fake = calls(self, module)
                for call in [call for call in dir(calls) if not call.startswith("_")]:
                    checked = getattr(module, call)
                    if hasattr(checked, "function"):
                        checked.function = getattr(fake, call)
                    else:
                        setattr(module, call, getattr(fake, call))


class _Calls:
    def __init__(self, fake, module):
        self._fake, self._module = fake, module

    def _granted(self, name):
        if name in self._fake.denied:
            raise refused("Denied", name)


class Keys(_Calls):
    def get(self, key):
        self._granted(key)
        return self._fake.keys.get(key)

    def get_many(self, keys):
        return [self.get(key) for key in keys]

    def set(self, key, value):
        self._granted(key)
        self._fake.keys[key] = value
        self._fake.ttls.pop(key, None)

    def set_with(self, key, value, options):
        self._granted(key)
        conditions = self._module.Condition
        wanted = {conditions.IF_ABSENT: False, conditions.IF_PRESENT: True}.get(options.condition)
        if wanted is not None and (key in self._fake.keys) != wanted:
            return False
        self.set(key, value)
        if options.ttl_ms is not None:
            self._fake.ttls[key] = options.ttl_ms
        return True

    def set_many(self, entries):
        for key, _ in entries:
            self._granted(key)
        for key, value in entries:
            self.set(key, value)

    def delete(self, key):
        self._granted(key)
        self._fake.ttls.pop(key, None)
        return self._fake.keys.pop(key, None) is not None

    def exists(self, key):
        return self.get(key) is not None

    def add(self, key, delta):
        self.increment(key, delta)

    def increment(self, key, delta):
        self._granted(key)
        held = self._fake.keys.get(key, b"0")
        total = int(held) + delta if _NUMBER.fullmatch(held) else None
        if total not in _S64:
            raise refused("WrongType", key)
        self._fake.keys[key] = str(total).encode()
        return total

    def compare_and_swap(self, key, expected, replacement):
        if self.get(key) != expected:
            return False
        if replacement is None:
            self.delete(key)
        else:
            self.set(key, replacement)
        return True

    def expire(self, key, ttl_ms):
        if self.get(key) is None:
            return False
        if ttl_ms == 0:
            return self.delete(key)
        self._fake.ttls.pop(key, None)
        if ttl_ms is not None:
            self._fake.ttls[key] = ttl_ms
        return True

    def ttl(self, key):
        self._granted(key)
        return self._fake.ttls.get(key)

    def list_keys(self, prefix, cursor=None):
        found = [key for key in self._fake.keys if key.startswith(prefix) and key not in self._fake.denied]
        return self._module.KeyPage(found, None)


class Queues(_Calls):
    def push(self, queue, payload):
        return self.push_many(queue, [payload])

    def push_many(self, queue, payloads):
        self._granted(queue)
        self._fake.queues.setdefault(queue, []).extend(payloads)
        return len(self._fake.queues[queue])

    def push_with(self, queue, payload, options):
        self._granted(queue)
        if options.delay_ms is None and options.unique is None:
            waiting = self._fake.queues.setdefault(queue, [])
            waiting.insert(0 if options.end == self._module.End.FRONT else len(waiting), payload)
            return self._module.PushOutcome_Pushed(len(waiting))
        key = options.unique and options.unique.key
        if key and any(name == queue and it.unique and it.unique.key == key for name, _, it in self._fake.pushed):
            return self._module.PushOutcome_Duplicate()
        self._fake.pushed.append((queue, payload, options))
        return self._module.PushOutcome_Delayed(f"test-push-{len(self._fake.pushed)}")

    def pop(self, queue, end):
        self._granted(queue)
        waiting = self._fake.queues.get(queue)
        return waiting.pop(0 if end == self._module.End.FRONT else -1) if waiting else None

    def length(self, queue):
        self._granted(queue)
        return len(self._fake.queues.get(queue, []))

    def peek(self, queue, count):
        self._granted(queue)
        return self._fake.queues.get(queue, [])[:count]


class Status(_Calls):
    def progress(self, done, total, note):
        pass

    def set_result(self, value):
        self._fake.result = value


class Settings(_Calls):
    def get(self, key):
        return self._fake.settings.get(key)

    def get_all(self):
        return list(self._fake.settings.items())


class Log(_Calls):
    def log(self, level, context, message):
        self._fake.logged.append((level, context, message))

"""A worker that does nothing: what a run in CPython costs."""

from wit_world import exports


class Handler(exports.Handler):
    def handle(self, job):
        pass

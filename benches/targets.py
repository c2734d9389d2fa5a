"""What was set out for, beside what was reached: the last tables of benches/results.py, from figures that it hands over.

A figure that was not measured is None, and its target stands there all the same.
"""

import pathlib
import subprocess
import sys

GUESTS = pathlib.Path(__file__).resolve().parent / "guests"
# Jobs a second and core that are wanted of a handler that does nothing: in fresh sandboxes, and 1,000 in each. Fresh ones begin
# from a snapshot, as `sandhog snapshot` makes it after one such job; what they do without has a row of its own.
LANGUAGES = {
    "python": ("Python", 1_000, 30_000),
    "quickjs": ("JavaScript, QuickJS", 8_000, 30_000),
    "spidermonkey": ("JavaScript, SpiderMonkey", 3_000, 12_000),
    "go": ("Go", 4_000, 60_000),
}


def built(guest, sandhog, tools):
    """The component of a folder in benches/guests; none where its toolchain could not be had."""
    component = GUESTS / guest / "build" / f"noop-{guest}.wasm"
    make = ["make", "--no-print-directory", "--silent", "-C", GUESTS / guest, component.relative_to(GUESTS / guest)]
    done = subprocess.run([*make, f"SANDHOG={sandhog}", f"TOOLS={tools}"], stdout=sys.stderr)
    return component if done.returncode == 0 else None


def snapshot(component, sandhog):
    """The same from a snapshot; none where none can be made (QuickJS)."""
    warm = component.with_name(f"warm-{component.name}")
    done = subprocess.run([sandhog, "snapshot", component, "-o", warm, "--payload", "x"], stdout=sys.stderr)
    return warm if done.returncode == 0 else None


def languages(bench, runs, sandhog, tools):
    """A handler that does nothing in each language; what one job takes of the host's processor time is what counts."""
    rows = []
    for guest, (name, wanted, wanted_reused) in LANGUAGES.items():
        component = built(guest, sandhog, tools)
        warm = component and snapshot(component, sandhog)

        def rate(of, reuse, jobs):
            return of and 1e6 / bench("--runs", runs, "--jobs", jobs, "--reuse", reuse, "--component", of)["host_cpu_us_per_job"]

        form = "{:,.0f} a second and core"
        cold = rate(component, 1, 20_000)
        rows.append(at_least(f"{name}, fresh" + (", from a snapshot" if warm else ""), wanted, rate(warm, 1, 20_000) if warm else cold, form))
        if warm:
            rows.append(at_least(f"{name}, fresh, without a snapshot", None, cold, form))
        rows.append(at_least(f"{name}, reused", wanted_reused, rate(component, 1_000, 100_000), form))
    return rows


def row(what, sign, bound, figure, form, met):
    reached = "not measured" if figure is None else form.format(figure)
    wanted = "–" if bound is None else f"{sign} {form.format(bound)}"
    return [what, wanted, reached, "–" if met is None else "yes" if met else "**no**"]


def at_least(what, bound, figure, form="{:.2f} ×"):
    return row(what, "≥", bound, figure, form, None if None in (figure, bound) else figure >= bound)


def at_most(what, bound, figure, form):
    return row(what, "≤", bound, figure, form, None if figure is None else figure <= bound)


def either(*rows):
    """Rows of which one is enough."""
    marks = [row[3] for row in rows]
    for row in rows:
        row[0] += " (or the other)"
        row[3] = "yes" if "yes" in marks else row[3]
    return rows


def of_peers(rates):
    """Against other systems, which were run in turn with it."""
    times = lambda one, other: rates[one] / rates[other] if one in rates and other in rates else None
    return [
        at_least("noop, fresh, to BullMQ", 7, times("sandhog", "bullmq")),
        at_least("noop, fresh, to Sidekiq", 12, times("sandhog", "sidekiq")),
        at_least("noop, fresh, to Celery", 140, times("sandhog", "celery")),
        at_least("noop, reused, to BullMQ", 11, times("sandhog-reuse", "bullmq")),
        at_least("noop that grows its memory, fresh, to BullMQ", 5, times("sandhog-grows", "bullmq")),
        at_least("ledger, atomic, to the same in BullMQ", 5, times("sandhog-ledger", "bullmq-ledger")),
    ]


def of_host(backlogs, ratios, latency, load_p99_ms):
    """Of a host alone: `backlogs` are documents by name, `load_p99_ms` is at half of the highest throughput."""
    noop, ms = backlogs["noop, fresh sandbox"], latency["latency_ms"]
    return [
        at_least("noop, fresh, to native", 0.4, ratios["fresh / native"]),
        at_least("noop, reused, to native", 0.6, ratios["reused / native"]),
        *either(
            at_least("noop, native", 400_000, backlogs["noop, native"]["jobs_per_s"], "{:,.0f} jobs/s"),
            at_least("noop, native, to the bare scripts", 0.8, ratios["native / scripts"]),
        ),
        at_least("ledger, atomic, to immediate", 1.5, ratios["ledger, atomic / immediate"]),
        at_most("noop, processor of Redis", 2, noop["redis_cpu_us_per_job"], "{:.2f} µs/job"),
        at_most("noop, commands in Redis", 0.25, noop["commands_per_job"], "{:.3f} a job"),
        at_most("one job into an idle queue, push to start, p50", 0.4, ms["p50"], "{:.2f} ms"),
        at_most("the same, p99", 2, ms["p99"], "{:.2f} ms"),
        at_most("push to start at half of the highest throughput, p99", 20, load_p99_ms, "{:.1f} ms"),
    ]


def of_scale(beside, boot, idle, growth, soak):
    """Of many plugins, many jobs, and a long time: the documents of these workloads."""
    first, *others = growth["rows"]
    deeper = [row for row in others if row["waiting"] > first["waiting"]]
    aside = [row for row in others if row["dead"] or row["delayed"]]
    slowest = min((row["of_first"] for row in deeper), default=None)
    dearest = max(row["redis_cpu_of_first"] for row in aside)
    depth = max(row["waiting"] for row in growth["rows"])
    many = f"{idle['plugins']:,} plugins with a queue each, idle"
    put_aside = max(row["dead"] for row in aside)
    return [
        at_least("a fast queue beside a slow one keeps", 0.9, beside["attacks"][0]["kept"]),
        at_most(f"start to first claim, {boot['plugins']} plugins, compiled before, p50", 60, boot["claimed_ms"]["p50"], "{:.1f} ms"),
        at_most(f"{many}: memory", 400, idle["memory_kib"] / 1024, "{:.0f} MiB"),
        at_most(f"{many}: processor", 2, idle["host_cpu_percent"], "{:.2f} % of a core"),
        at_most(f"{many}: commands", 0.2, idle["commands_per_queue_per_s"], "{:.3f} a second and queue"),
        at_least(f"throughput with up to {depth:,} jobs waiting, to 1,000", 0.9, slowest),
        at_most(f"Redis' share of a job with {put_aside:,} dead or delayed jobs, to none", 1.1, dearest, "{:.2f} ×"),
        at_most(f"memory after {soak['seconds']:,.0f} s of full load, to its first tenth", 1.05, soak["memory_last_of_first"], "{:.2f} ×"),
    ]

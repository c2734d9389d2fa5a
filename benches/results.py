#!/usr/bin/env python3
"""Runs every workload, and the other queue systems beside them, and writes benches/RESULTS.md.

    benches/results.py [--runs 5] [--jobs 300000] [--deepest 10000000] [--soak 60s | --soaked FILE] [--to FILE] [--no-peers] [--quick]

Needs a release build (`make bench` makes it), or another one in SANDHOG, and one of the dev profile in SANDHOG_DEV for the
ratios that `--quick` compares with: those of SANDHOG now, four of them; it fails where one has halved twice. What was set
out for is in benches/targets.py.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

import targets

ROOT = pathlib.Path(__file__).resolve().parent.parent
SANDHOG = os.environ.get("SANDHOG", str(ROOT / "target/release/sandhog"))
SANDHOG_DEV = os.environ.get("SANDHOG_DEV", str(ROOT / "target/debug/sandhog"))
RESULTS = ROOT / "benches/RESULTS.md"
PICTURE = ROOT / "benches/load.svg"
TOOLS = ROOT / "target/tools"
# What `--quick` guards: throughput of noop as a part of the native baseline's, fresh and reused, of the native one as a part
# of what the scripts alone reach, and of the ledger's modes.
GUARDED = ("fresh / native", "reused / native", "native / scripts", "ledger, atomic / immediate")
# Jobs of one of its measurements.
QUICK_JOBS = 60_000


def bench(*arguments, program=SANDHOG):
    """One measurement's document."""
    command = [program, "bench", "--json", *map(str, arguments)]
    print("$", *command[1:], file=sys.stderr)
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def guarded(rounds, jobs, program=SANDHOG):
    """The ratios that matter. Sides take turns, and the best of each counts: what else a machine does only slows."""
    ledger = ["--workload", "ledger", "--jobs", jobs // 6, "--effects"]
    sides = {
        "native": ["--jobs", jobs, "--baseline", "native"],
        "scripts": ["--jobs", jobs, "--baseline", "scripts"],
        "fresh": ["--jobs", jobs],
        "reused": ["--jobs", jobs, "--reuse", 1000],
        "atomic": [*ledger, "atomic"],
        "immediate": [*ledger, "immediate"],
    }
    best = dict.fromkeys(sides, 0.0)
    for _ in range(rounds):
        for side, arguments in sides.items():
            best[side] = max(best[side], bench(*arguments, program=program)["jobs_per_s"])
    pairs = [("fresh", "native"), ("reused", "native"), ("native", "scripts"), ("atomic", "immediate")]
    return {name: best[one] / best[other] for name, (one, other) in zip(GUARDED, pairs)}


def quick():
    """Compares with what is written; information, unless something has halved, twice."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    written = {name: (release, dev) for name, release, dev in re.findall(r"^\| (.+?) \| ([0-9.]+) \| ([0-9.]+) \|$", text, re.M)}
    column = 0 if "/release/" in SANDHOG else 1
    for _ in range(2):
        halved = False
        for name, ratio in guarded(3, QUICK_JOBS).items():
            before = float(written.get(name, (0, 0))[column])
            halved |= ratio < before / 2
            print(f"{name}: {ratio:.2f}, was {before:.2f}{'  HALVED' if ratio < before / 2 else ''}")
        if not halved:
            return 0
    return 1


def backlogs(runs, jobs):
    """Documents of the workloads that work off a backlog, by name."""
    return {name: bench("--runs", runs, *arguments) for name, arguments in {
        "noop, fresh sandbox": ["--jobs", jobs],
        "noop, reuse 1000": ["--jobs", jobs, "--reuse", 1000],
        "noop, native": ["--jobs", jobs, "--baseline", "native"],
        "noop, scripts alone": ["--jobs", jobs, "--baseline", "scripts"],
        "ledger, atomic": ["--workload", "ledger", "--jobs", jobs // 6],
        "ledger, immediate": ["--workload", "ledger", "--jobs", jobs // 6, "--effects", "immediate"],
        "cpu": ["--workload", "cpu"],
        "cpu, native": ["--workload", "cpu", "--baseline", "native"],
        "echo-1m": ["--workload", "echo-1m"],
        "mixed": ["--workload", "mixed", "--jobs", jobs // 2],
    }.items()}


def backlog_row(name, of):
    least, most = of["jobs_per_s_spread"]
    ms = of.get("latency_ms")
    return [
        name, f"{of['jobs_per_s']:,.0f}", f"{least:,.0f} to {most:,.0f}",
        f"{ms['p50']} / {ms['p95']} / {ms['p99']} / {ms['p999']}" if ms else "",
        of["redis_cpu_us_per_job"], of["commands_per_job"], of["host_cpu_us_per_job"], f"{of['memory_kib'] // 1024} MiB",
    ]


def growth_row(of):
    size = [f"{of[field]:,.0f}" for field in ("waiting", "dead", "delayed", "jobs_per_s")]
    return [*size, f"{of['of_first']:.2f}", of["redis_cpu_us_per_job"], of["host_cpu_us_per_job"], f"{of['memory_kib'] // 1024:,.0f} MiB"]


def load_row(of):
    ms = of["latency_ms"]
    return [f"{of['part'] * 100:.0f} %", f"{of['offered_per_s']:,.0f}", f"{of['reached_per_s']:,.0f}",
            *(ms[quantile] for quantile in ("p50", "p95", "p99", "p999"))]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines) + "\n"


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    server = os.environ.get("SANDHOG_REDIS_SERVER") or "redis-server"
    redis = subprocess.run([server, "--version"], stdout=subprocess.PIPE, text=True).stdout
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.processor()}), {memory} GiB, Linux {platform.release()}; "
            f"Redis {re.search(r'v=([0-9.]+)', redis)[1]} on the same cores; commit {commit.strip()}; {datetime.date.today()}")


def peers(runs):
    """The table of other systems, and their rates by name."""
    run = subprocess.run([ROOT / "benches/peers/run"], check=True, stdout=subprocess.PIPE, text=True,
                         env={**os.environ, "ROUNDS": str(runs), "SANDHOG": SANDHOG})
    shown = run.stdout.split("\n\n", 1)[1]
    rates = {name: float(rate.replace(",", "")) for name, rate in re.findall(r"^\| (\S+) \| ([0-9,]+) \|", shown, re.M)}
    return shown, rates


def everything(asked):
    runs, jobs = asked.runs, asked.jobs
    head = ["workload", "jobs/s, median", "from, to", "p50 / p95 / p99 / p99.9 ms, claim to settled", "Redis µs/job",
            "commands/job", "host µs/job", "memory"]
    text = f"# Results\n\nWritten by `make bench`: {machine()}. Medians of {runs} runs; machines differ, so quote ratios.\n\n"
    documents = backlogs(runs, jobs)
    text += table(head, [backlog_row(*item) for item in documents.items()])
    ratios, of_dev = guarded(runs, jobs), guarded(runs, QUICK_JOBS, SANDHOG_DEV)
    text += "\n" + table(["ratio", "release build", "dev build"], [[name, f"{ratio:.2f}", f"{of_dev[name]:.2f}"] for name, ratio in ratios.items()])
    growth = bench("--workload", "growth", "--jobs", asked.deepest, "--runs", runs)
    head = ["waiting", "dead", "delayed", "jobs/s", "of the first", "Redis µs/job", "host µs/job", "memory"]
    text += "\n" + table(head, [growth_row(row) for row in growth["rows"]])
    load = bench("--workload", "load", "--jobs", jobs, "--plot", PICTURE)
    head = ["of the most", "offered/s", "reached/s", "due to start, p50 ms", "p95", "p99", "p99.9"]
    text += "\n" + table(head, [load_row(row) for row in load["rates"]])
    text += f"\n![Curves over load]({PICTURE.name})\n"
    # The run whose median is the median of all.
    latencies = [bench("--workload", "idle-latency") for _ in range(runs)]
    latency = sorted(latencies, key=lambda run: run["latency_ms"]["p50"])[runs // 2]
    scale = {
        "beside": bench("--workload", "neighbour", "--attack", "slow jobs", "--runs", runs),
        "boot": bench("--workload", "boot"),
        "idle": bench("--workload", "idle", "--queues", asked.plugins, "--plugins", asked.plugins),
        "growth": growth,
        "soak": json.loads(asked.soaked.read_text()) if asked.soaked else bench("--workload", "soak", "--time", asked.soak),
    }
    shown, rates = peers(runs) if asked.peers else ("", {})
    load_p99_ms = next(row["latency_ms"]["p99"] for row in load["rates"] if row["part"] == 0.5)
    text += "\n## Targets\n\n" + table(["what", "target", "reached", "met"], [
        *targets.of_peers(rates),
        *targets.of_host(documents, ratios, latency, load_p99_ms),
        *targets.of_scale(**scale),
        *targets.languages(bench, runs, SANDHOG, TOOLS),
    ])
    if asked.peers:
        text += "\n## Beside other systems\n\nTCP to one Redis without persistence, in turn (`benches/peers/run`).\n\n" + shown
    asked.to.write_text(text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=300000)
    parser.add_argument("--deepest", type=int, default=10_000_000, help="jobs that wait, of `growth`")
    parser.add_argument("--plugins", type=int, default=1000, help="that idle")
    parser.add_argument("--soak", default="60s", help="how long `soak` is: the target is about 1h")
    parser.add_argument("--soaked", type=pathlib.Path, help="what `bench --workload soak --json` has said before, instead")
    parser.add_argument("--to", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    sys.exit(quick() if asked.quick else everything(asked))

#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzzer of tests/unit/inventory_fuzz.py for long, and prints what it met.

    tools/fuzz_inventories.py [--inventories 50000] [--seed 1] [--units 40]

Each inventory is planned, rendered and read back, or refused in one sentence. Exits with 1 where one is neither, where
a secret turns up, or where systemd-analyze objects to a unit.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/unit"), str(ROOT / "collections")]
sys.path.append(str(ROOT / ".cache/tensorflow"))

import inventory_fuzz  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

VERIFY = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
# Between two inventories whose pages and units are looked at as well, which takes longer than all the rest.
EVERY = 50
# Inventories between two reports.
PART = 1000


class Findings:
    """What was met so far."""

    def __init__(self, units: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.verified = 0
        self.units = units

    def take(self, variables: dict[str, Any], topology: dict[str, Any]) -> None:
        """Try one inventory, and note what it ends in."""
        try:
            outcome, files = inventory_fuzz.outcome(variables, topology)
        except Exception as error:
            self.note(type(error).__name__, error)
            return
        self.outcomes[outcome] += 1
        if outcome == "planned" and self.verified < self.units and self.outcomes[outcome] % EVERY == 1:
            self.verified += 1
            problem = verify(files)
            if problem:
                self.note("systemd-analyze", ValueError(problem))

    def note(self, kind: str, error: Exception) -> None:
        """Count a finding by the line that it comes from; keep one example of each."""
        self.outcomes[kind] += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        cause = f"{kind} at {place}"
        self.causes[cause] += 1
        self.examples.setdefault(cause, str(error)[:400])


def verify(files: dict[str, str]) -> str:
    """Return what systemd says of the units of a host; the program is one that is there."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(re.sub(r"^ExecStart=/\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
        names = [name.removesuffix(".d/10-plan.conf") for name in files if name.endswith(".d/10-plan.conf")]
        for name in [name for name in names if name.startswith("tfserving-health@")]:
            Path(folder, "tfserving-health@.service").write_text("[Service]\nExecStart=/bin/true\n")
            names.remove(name)
        environment = {"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"}
        paths = [str(Path(folder, name)) for name in names]
        done = subprocess.run([*VERIFY, *paths], env=environment, capture_output=True, text=True, check=False)
        said = [line for line in done.stderr.splitlines() if folder in line or "tfserving" in line]
        return "\n".join(said)


def main() -> int:
    """Run the inventories; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventories", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--units", type=int, default=40, help="hosts whose units systemd-analyze looks at")
    options = parser.parse_args()
    findings = Findings(options.units)

    begun = time.monotonic()
    for part, first in enumerate(range(0, options.inventories, PART)):
        run_part(findings, f"{options.seed}/{part}", min(PART, options.inventories - first))
        report(findings, options.seed, time.monotonic() - begun)
    return 1 if findings.causes else 0


def run_part(findings: Findings, start: str, count: int) -> None:
    """Try a number of inventories, the same ones for the same ``start``."""

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inventory_fuzz.inventories(), st.sampled_from(inventory_fuzz.MACHINES))
    def run(variables: dict[str, Any], topology: dict[str, Any]) -> None:
        findings.take(variables, topology)

    run()


def report(findings: Findings, start: int, seconds: float) -> None:
    """Print the figures so far."""
    total = sum(findings.outcomes.values())
    print(f"seed {start}: {total} inventories in {seconds:.0f} s, {dict(findings.outcomes)}")
    print(f"systemd-analyze verify: the units of {findings.verified} hosts", flush=True)
    for cause, count in findings.causes.most_common():
        print(f"{count:6} {cause}: {findings.examples[cause]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzzer of tests/unit/support/inventory_fuzz.py for long, and prints what it met.

    tools/fuzz_inventories.py [--inventories 50000] [--seed 1] [--hosts 100] [--minutes 60]

Each inventory is planned, rendered and read back, or refused in one sentence. Exits with 1 where one is neither, where
a secret turns up, or where systemd-analyze, nft or sh objects to a file. The same seed gives the same inventories.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/unit/support"), str(ROOT / "collections")]
sys.path.append(os.environ.get("LAB_RUNTIME") or str(ROOT / ".cache/tensorflow"))

import inventory_fuzz  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

UNITS = "etc/systemd/system"
VERIFY = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
# The packet filter of nobody: a check asks the kernel, and the machine's own tables are none of its concern.
CHECK_RULES = ("unshare", "--net", "nft", "--check", "--file")
# Between two planned hosts whose pages and files are looked at as well, which takes longer than all the rest.
EVERY = 50
# Inventories between two reports.
PART = 1000


class Findings:
    """What was met so far."""

    def __init__(self, hosts: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.checked: Counter[str] = Counter()
        self.hosts = hosts

    @property
    def total(self) -> int:
        """How many inventories there were."""
        return self.outcomes["planned"] + self.outcomes["refused"] + self.outcomes["neither"]

    def take(self, variables: dict[str, Any], topology: dict[str, Any]) -> None:
        """Try one inventory, and note what it ends in."""
        closely = self.outcomes["planned"] % EVERY == 0 and self.checked["hosts"] < self.hosts
        try:
            outcome, files = inventory_fuzz.outcome(variables, topology, page_too=closely)
        except Exception as error:
            self.outcomes["neither"] += 1
            self.note(error)
            return
        self.outcomes[outcome] += 1
        if outcome == "planned" and closely:
            self.checked["hosts"] += 1
            for program, problem in objections(files, self.checked):
                self.note(ValueError(problem), program)

    def note(self, error: Exception, kind: str = "") -> None:
        """Count a finding by the line that it comes from; keep one example of each."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        cause = f"{kind or type(error).__name__}{place}"
        self.causes[cause] += 1
        if cause not in self.examples:
            self.examples[cause] = str(error)[:400]
            print(f"{cause}: {self.examples[cause]}", flush=True)

    def figures(self) -> str:
        """Return what a reader wants to know, on one line."""
        planned, refused = self.outcomes["planned"], self.outcomes["refused"]
        looked_at = ", ".join(f"{count} {what}" for what, count in self.checked.items()) or "no files"
        return (
            f"{self.total} inventories: {planned} planned, {refused} refused, {self.outcomes['neither']} neither;"
            f" looked at closely: {looked_at}; findings: {sum(self.causes.values())}"
        )


def objections(files: dict[str, str], checked: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield what systemd, nft and sh say of the files of a host, by program, and count what was shown to them."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Programs and groups are ones that are there.
            there = re.sub(r"^(Exec\w+)=[-!]*[^\s]+", r"\1=/bin/true", text, flags=re.MULTILINE)
            path.write_text(re.sub(r'meta skgid "[^"]+"', 'meta skgid "root"', there))
        if shutil.which("systemd-analyze"):
            names = units(Path(folder, UNITS))
            checked["units"] += len(names)
            yield from _objection("systemd-analyze", [*VERIFY, *names], folder)
        rules = Path(folder, "etc/tfserving/addresses.nft")
        if rules.exists() and shutil.which("nft") and os.geteuid() == 0:
            checked["packet filters"] += 1
            yield from _objection("nft", [*CHECK_RULES, str(rules)], folder)
        for path in (*Path(folder).glob("etc/default/grub.d/*"), *Path(folder).glob("usr/local/lib/*/keep-interrupts")):
            checked["shell files"] += 1
            yield from _objection("sh", ["sh", "-n", str(path)], folder)


def units(folder: Path) -> list[str]:
    """Return the units to verify; those that have a drop-in alone are given something to drop it into."""
    found = []
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(".d")
        if path.is_dir() and name.endswith((".service", ".slice")) and "@" not in name:
            main = folder / name
            main.exists() or main.write_text(
                "[Service]\nExecStart=/bin/true\n" if name.endswith("service") else "[Slice]\n"
            )
        if name.endswith((".service", ".slice")) and "@." not in name:
            found.append(str(folder / name))
    return sorted(set(found))


def _objection(program: str, command: Sequence[str], folder: str) -> Iterator[tuple[str, str]]:
    environment = {"SYSTEMD_UNIT_PATH": f"{folder}/{UNITS}:", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if program != "systemd-analyze" or folder in line or "tf" in line]
    if said or (done.returncode and program != "systemd-analyze"):
        yield program, "\n".join(said) or f"exit status {done.returncode}"


def main() -> int:
    """Run the inventories; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventories", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--hosts", type=int, default=100, help="planned hosts whose pages and files are looked at closely"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after this long")
    options = parser.parse_args()
    findings = Findings(options.hosts)

    begun = time.monotonic()
    for part, first in enumerate(range(0, options.inventories, PART)):
        if time.monotonic() - begun > options.minutes * 60:
            break
        run_part(findings, f"{options.seed}/{part}", min(PART, options.inventories - first))
        print(f"{time.monotonic() - begun:6.0f} s  {findings.figures()}", flush=True)
    for cause, count in findings.causes.most_common():
        print(f"{count:6} {cause}: {findings.examples[cause]}")
    print(f"fuzz: seed {options.seed}, {time.monotonic() - begun:.0f} s, {findings.figures()}")
    return 1 if findings.causes else 0


def run_part(findings: Findings, start: str, count: int) -> None:
    """Try a number of inventories, the same ones for the same ``start``."""

    @seed(start)
    @settings(
        max_examples=count,
        derandomize=False,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inventory_fuzz.inventories(), st.sampled_from(inventory_fuzz.MACHINES))
    def run(variables: dict[str, Any], topology: dict[str, Any]) -> None:
        findings.take(variables, topology)

    run()


if __name__ == "__main__":
    sys.exit(main())

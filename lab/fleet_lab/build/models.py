# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's models: trained here, in seconds, and offered as archives at http://packages.lab/.

`models` are those that the lab serves, `bench_models` those that benchmarks and the scenarios that measure need: the
demo builds only the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from fleet_lab.build import hashing
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import quietly

STAMP = ".stamp"
COMMON = ("saving.py", "digits.py", "ranker.py")


def models(lab: Lab) -> str:
    """Train and pack the models, unless this was done with the same code and the same TensorFlow."""
    return _built(lab, "train.py", COMMON, lab.models)


def bench_models(lab: Lab) -> str:
    """The same for the models of the benchmarks."""
    return _built(lab, "train_bench.py", [*COMMON, "bench"], lab.bench_models)


def _built(lab: Lab, program: str, parts: Iterable[str], target: Path) -> str:
    """Run a program of lab/models, whose code is in `parts` of that folder, for a folder that it then replaces."""
    source = lab.root / "lab" / "models"
    train = source / program
    if not train.is_file():
        raise Stop(f"{train} is missing, so there is nothing to serve; restore it from the repository")
    sources = [train, *(source / part for part in parts), lab.root / "requirements" / "lab.txt"]
    key = hashing.key_of_files(sources)
    if hashing.stamped(target / STAMP, key):
        return "reused"
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    quietly([lab.python, train, unfinished], lab.logs / f"{target.name}.log", env=runtime_environment(lab))
    (unfinished / STAMP).write_text(f"{key}\n")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return f"trained {len(list(target.glob('*.tar.gz')))} model versions"


def runtime_environment(lab: Lab) -> dict[str, str]:
    """Return the variables with which a Python program imports the shared TensorFlow silently."""
    return {"PYTHONPATH": str(lab.runtime), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}

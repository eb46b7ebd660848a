# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models that the lab serves: trained here, in seconds, and offered as archives at http://packages.lab/models/."""

from __future__ import annotations

import shutil

from fleet_lab.build import hashing
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import quietly

STAMP = ".stamp"


def models(lab: Lab) -> str:
    """Train and pack the models, unless this was done with the same code and the same TensorFlow."""
    source = lab.root / "lab" / "models"
    train = source / "train.py"
    if not train.is_file():
        raise Stop(f"{train} is missing, so there is nothing to serve; restore it from the repository")
    key = hashing.key_of_files([source, lab.root / "requirements" / "lab.txt"])
    if hashing.stamped(lab.models / STAMP, key):
        return "reused"
    unfinished = lab.models.with_name("models.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    quietly([lab.python, train, unfinished], lab.logs / "models.log", env=runtime_environment(lab))
    (unfinished / STAMP).write_text(f"{key}\n")
    shutil.rmtree(lab.models, ignore_errors=True)
    unfinished.rename(lab.models)
    return f"trained {len(list(lab.models.glob('*.tar.gz')))} model versions"


def runtime_environment(lab: Lab) -> dict[str, str]:
    """Return the variables with which a Python program imports the shared TensorFlow silently."""
    return {"PYTHONPATH": str(lab.runtime), "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}

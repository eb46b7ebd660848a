# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Pin the Python requirements, with hashes."""

from __future__ import annotations

import shutil
from pathlib import Path

from fleet_lab.config import PYTHON_VERSION, Lab
from fleet_lab.shell import quietly

# tensorflow-serving-api asks for the GPU build of TensorFlow beside tensorflow-cpu: no Python ever fulfils this marker.
# Packages beside which the others are there already.
ALONE = {"floor"}
OVERRIDES = {"lab": 'tensorflow ; python_version < "3"'}
# ansible-core's newer releases do not run on the Python of the others; load hosts may have the oldest of all hosts.
VERSIONS = {"core-2.20": (3, 12), "core-2.21": (3, 12), "load": (3, 9)}
# What is no tool of this repository's, but belongs to a role.
# The minors of TensorFlow that have wheels for the Python of the others.
MINORS = [f"2.{number}" for number in range(12, 21)]
TARGETS = {
    "load": "roles/load_generator/files/requirements.txt",
    **{f"optimizer-{minor}": f"roles/model_builder/files/requirements-{minor}.txt" for minor in MINORS},
}
UV = "uv==0.13.8"  # resolves for a Python version that is not the one it runs under; pip cannot


def lock(lab: Lab) -> str:
    """Write requirements/*.txt from requirements/*.in; keep pins that still fit, unless their .txt was removed."""
    log = lab.logs / "lock.log"
    uv = _uv(lab, log)
    names = [path.stem for path in sorted((lab.root / "requirements").glob("*.in"))]
    for name in names:
        version = "{}.{}".format(*VERSIONS.get(name, PYTHON_VERSION))
        overrides = lab.tools / f"{name}.overrides"
        overrides.parent.mkdir(parents=True, exist_ok=True)
        overrides.write_text(OVERRIDES.get(name, "") + "\n")
        source, target = f"requirements/{name}.in", TARGETS.get(name, f"requirements/{name}.txt")
        options = ["--generate-hashes", "--python-version", version, "--no-emit-find-links", "--quiet"]
        options += ["--no-deps"] if name in ALONE else []
        command: list[str | Path] = [uv, "pip", "compile", *options, "--override", overrides, source, "-o", target]
        quietly(command, log, env={"UV_CUSTOM_COMPILE_COMMAND": "make lock"}, cwd=lab.root)
    return f"wrote {', '.join(TARGETS.get(name, f'requirements/{name}.txt') for name in names)}"


def _uv(lab: Lab, log: Path) -> Path:
    found = shutil.which("uv")
    if found:
        return Path(found)
    program = lab.tools / "bin" / "uv"
    if not program.exists():
        quietly([lab.python, "-m", "pip", "install", "--quiet", "--target", lab.tools, UV], log)
    return program

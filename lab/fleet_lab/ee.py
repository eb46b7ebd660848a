# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""`make ee`: an execution environment with the collection, and runs in it through ansible-runner, as AWX does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_lab.build import judge_packages
from fleet_lab.config import LABEL, Lab
from fleet_lab.errors import Stop
from fleet_lab.sanity import published
from fleet_lab.shell import openly, quietly
from fleet_lab.stages import Shown

TAG = "tfserving-ee"
CORE, RUNNER = "ansible-core==2.19.14", "ansible-runner==2.4.3"  # the newest ones for the Python of Debian 12

# What the image of a lab host lacks to be a base: it is a Debian without pip.
BASE_PACKAGES = ("openssh-client", "python3-pip")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

# AWX offers a project's own files as playbooks, so each is a file of one line. Name, arguments.
RUNS = {"plan": (), "site": ("--cmdline=--check",), "certificates": ()}

# ansible-runner mounts the folder of a run here; what the lab has built is beside the project.
INSIDE = "/runner"
CACHE_INSIDE = f"{INSIDE}/project/cache"


def ee(lab: Lab, base: str) -> list[Shown]:
    """Return the stage that builds the image on top of `base` and runs playbooks in it against the lab's hosts.

    It is one stage, since stages run side by side, and each step needs the one before.
    """
    place = lab.judged / "ee"

    def work(label: str) -> None:
        _build(lab, place, base, label)
        for name in RUNS:
            _run(lab, place, name, label)

    return [("execution environment", work)]


def definition(base: str, archive: Path) -> dict[str, Any]:
    """Return ansible-builder's definition; the collection's own needs are in its meta/execution-environment.yml."""
    steps = [
        f"COPY _build/authorities/{AUTHORITIES.name} {AUTHORITIES}",
        f"ENV PIP_CERT={AUTHORITIES} PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive",
        f"RUN apt-get update && apt-get install -y --no-install-recommends {' '.join(BASE_PACKAGES)}",
    ]
    return {
        "version": 3,
        "images": {"base_image": {"name": base}},
        # Without these, dnf is called, and ensurepip, which Debian's Python does not have.
        "options": {"package_manager_path": "/usr/bin/apt-get", "skip_pip_install": True},
        "dependencies": {
            "python_interpreter": {"python_path": "/usr/bin/python3"},
            "ansible_core": {"package_pip": CORE},
            "ansible_runner": {"package_pip": RUNNER},
            "galaxy": {"collections": [{"name": f"dist/{archive.name}", "type": "file"}]},
        },
        "additional_build_files": [
            {"src": archive.name, "dest": "dist"},
            {"src": str(AUTHORITIES), "dest": "authorities"},  # of a proxy, where the machine is behind one
        ],
        "additional_build_steps": {"prepend_base": steps},
    }


def _build(lab: Lab, place: Path, base: str, label: str) -> None:
    archive = published(lab, place, lab.logs / "ee.log")
    (place / "execution-environment.yml").write_text(json.dumps(definition(base, archive), indent=2))
    tools = judge_packages.folder(lab, "judges") / "bin"
    command: list[str | Path] = [tools / "ansible-builder", "build", "--container-runtime", "docker", "--tag", TAG]
    command += [f"--extra-build-cli-args=--label={LABEL}=ee"]
    openly(command, _environment(tools), place, label)


def _run(lab: Lab, place: Path, name: str, label: str) -> None:
    """Run a playbook as AWX does: a project of files, an inventory, an environment; rc and status of ansible-runner."""
    folder, log = place / "run", lab.logs / "ee.log"
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in _project(lab).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    quietly(["cp", "-r", lab.root / "inventories" / "lab", folder / "inventory"], log)
    tools = judge_packages.folder(lab, "judges") / "bin"
    command: list[str | Path] = [tools / "ansible-runner", "run", folder, "--playbook", f"{name}.yml", "--ident", name]
    command += [*RUNS[name], *_isolation(lab)]
    openly(command, _environment(tools), folder, label)
    status = (folder / "artifacts" / name / "status").read_text().strip()
    if status != "successful":
        raise Stop(f"ansible-runner calls the run of {name} {status}; its artifacts are in {folder}/artifacts/{name}")


def _project(lab: Lab) -> Mapping[str, str]:
    """Return the files of a project, by path."""
    playbooks = {f"project/{name}.yml": f"- import_playbook: tfserving.fleet.{name}\n" for name in RUNS}
    variables = {"FLEET_CACHE": CACHE_INSIDE, "ANSIBLE_PIPELINING": "true"}
    return {**playbooks, "env/envvars": json.dumps(variables)}


def _isolation(lab: Lab) -> list[str]:
    """Return the options for a container with the engine's socket and client, to reach the lab's hosts through."""
    docker = shutil.which("docker") or "/usr/bin/docker"
    connection = lab.venv / "lib" / "python3.11" / "site-packages" / "ansible_collections" / "community" / "docker"
    mounts = {
        "/var/run/docker.sock": "/var/run/docker.sock",
        docker: "/usr/bin/docker:ro",
        str(connection): "/usr/share/ansible/collections/ansible_collections/community/docker:ro",
        str(lab.state): f"{CACHE_INSIDE}/lab:ro",
    }
    options = ["--process-isolation", "--process-isolation-executable", "docker", "--container-image", TAG]
    return [*options, *(part for pair in mounts.items() for part in ("--container-volume-mount", ":".join(pair)))]


def _environment(tools: Path) -> dict[str, str]:
    # Docker's older builder, which needs no plug-in.
    return {"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "DOCKER_BUILDKIT": "0"}

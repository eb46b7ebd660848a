# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's VM as a host to measure: two CPUs, each bound to one of this machine's, and the lab's runtime on a disk.

The VM's own files are made with the ones of Molecule's scenarios, so there is one of both at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support import lab_models, local_server

sys.path.insert(0, str(lab_models.ROOT / "lab"))

from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import quietly
from fleet_lab.vm import image
from fleet_lab.vm.config import Shape
from fleet_lab.vm.machine import Machine, free_port
from fleet_lab.vm.qemu import cpu_threads

CPUS = 2
# Two servers of 450 MB, and the pages of the runtime's libraries, which both map.
MEMORY_MB = 3072
# The runtime has 1.5 GB; what a sparse disk does not hold costs nothing.
DISK_MB = 3072
MOUNT = "/opt/lab"
RUNTIME, MODELS, SERVER = f"{MOUNT}/tensorflow", f"{MOUNT}/models", f"{MOUNT}/reference_server"
# What moves the guest's packets, and what counts its time, must not wait for the CPUs that it is measured on. Niceness
# is not enough: the scheduler lets a busy CPU of the guest end its slice of some milliseconds first.
AT_ONCE = (os.SCHED_RR, os.sched_param(1))
COLLECTION = "ansible_collections/tfserving/fleet/plugins"


class Waits(NamedTuple):
    """Of the guest's CPUs so far, in seconds: what they ran, and what they waited for a CPU of this machine."""

    ran: list[float]
    waited: list[float]


class Guest:
    """The running VM and the agent in it."""

    def __init__(self, machine: Machine, ports: Mapping[int, int], accelerator: str) -> None:
        self.ports, self.accelerator = dict(ports), accelerator
        self._threads = cpu_threads(machine.files.monitor)
        self._pid = int(machine.files.pid.read_text())
        self.cpus = self._bind()
        mount = f"mkdir -p {MOUNT} && mount -o ro /dev/vdb {MOUNT} && exec python3 -B {MOUNT}/guest_agent.py"
        self._agent = subprocess.Popen(machine.ssh(mount), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, **order: Any) -> Any:
        """What the agent answers."""
        assert self._agent.stdin
        assert self._agent.stdout
        self._agent.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._agent.stdin.flush()
        line = self._agent.stdout.readline()
        answer = json.loads(line) if line else {"error": "the agent in the VM has ended"}
        if "error" in answer:
            raise SystemExit(f"the VM could not {do}: {answer['error']}")
        return answer["answer"]

    def run(self, *words: str) -> str:
        """The output of a command in the guest; ends the program if it fails."""
        done = self.ask("run", words=words)
        if done["status"]:
            raise SystemExit(f"{' '.join(words)} failed in the VM with {done['status']}: {done['err'][-2000:]}")
        return done["out"]

    def waits(self) -> Waits:
        """What the guest's CPUs ran and waited, by this machine's scheduler (/proc/PID/schedstat)."""
        read = [Path(f"/proc/{self._pid}/task/{thread}/schedstat").read_text().split() for thread in self._threads]
        return Waits([int(each[0]) / 1e9 for each in read], [int(each[1]) / 1e9 for each in read])

    def end(self) -> None:
        self._agent.kill()
        self._agent.wait()

    def _bind(self) -> list[int]:
        """Bind each CPU of the guest to one of this machine's; the rest of QEMU gets the right of way."""
        here = sorted(os.sched_getaffinity(0))[-CPUS:]
        if len(here) < CPUS:
            raise SystemExit(f"a guest with {CPUS} CPUs takes as many here, and there is {len(here)}")
        for thread in map(int, os.listdir(f"/proc/{self._pid}/task")):
            if thread not in self._threads:
                os.sched_setscheduler(thread, *AT_ONCE)
        for thread, cpu in zip(self._threads, here):
            os.sched_setaffinity(thread, {cpu})
        return [next(iter(os.sched_getaffinity(thread))) for thread in self._threads]


@contextmanager
def right_of_way() -> Iterator[None]:
    """What this program starts in the block runs at once when it wants to, as the rest of QEMU does."""
    os.sched_setscheduler(0, *AT_ONCE)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def booted(model: Path, ports: Sequence[int]) -> Iterator[Guest]:
    """The VM with the folder of a model on its disk and some of its ports forwarded, until the block ends."""
    lab = Lab.from_environment(lab_models.ROOT)
    try:
        image.image(lab)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=lab.state / "vm") as folder:
            disk = _disk(Path(folder), model, lab.logs / "vm-bench.log")
            forwarded = {inside: free_port() for inside in ports}
            shape = Shape(1, CPUS, 1, MEMORY_MB, (disk,), tuple((there, port) for port, there in forwarded.items()))
            with _running(lab, shape, forwarded) as guest:
                yield guest
    except Stop as stop:
        raise SystemExit(f"{stop.details}\n{stop}") from stop


@contextmanager
def _running(lab: Lab, shape: Shape, ports: Mapping[int, int]) -> Iterator[Guest]:
    machine = Machine(lab, shape)
    if machine.running():
        raise SystemExit("the lab's VM runs already; end it with: python3 lab/vm/vm.py down")
    try:
        print(f"vm: {machine.up(image.current(lab))}", file=sys.stderr, flush=True)
        guest = Guest(machine, ports, machine.accelerator)
        try:
            yield guest
        finally:
            guest.end()
    finally:
        machine.down()


def _disk(folder: Path, model: Path, log: Path) -> Path:
    """A disk with the runtime, the reference server, the model, the collection's code for hosts, and the agent."""
    tree, disk = folder / "tree", folder / "disk.img"
    (tree / "models").mkdir(parents=True)
    collection = tree / "collection" / COLLECTION
    collection.mkdir(parents=True)
    copies = {
        lab_models.RUNTIME: tree / "tensorflow",
        model: tree / "models" / model.name,
        local_server.REFERENCE_SERVER: tree / "reference_server",
        lab_models.ROOT / "plugins" / "module_utils": collection / "module_utils",
    }
    for source, target in copies.items():
        shutil.copytree(source, target, symlinks=True, copy_function=_linked)
    shutil.copy(Path(__file__).with_name("guest_agent.py"), tree)
    options = ["-q", "-t", "ext4", "-m", "0", "-O", "^has_journal"]  # it is never written to
    quietly(["mke2fs", *options, "-d", tree, disk, f"{DISK_MB}M"], log)
    shutil.rmtree(tree)
    return disk


def _linked(source: str, target: str) -> None:
    """A link where that goes: the runtime has 1.5 GB, which mke2fs copies in any case."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

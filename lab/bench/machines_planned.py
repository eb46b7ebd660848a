# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the planner makes of machines: the share of their CPUs that the system keeps and that one instance uses.

The machines are shapes that everybody knows, and recordings: FLEET_TOPOLOGIES names a folder of archives (*.tar.bz2)
with one recorded machine in each. `--before` names another checkout whose figures stand beside those of this one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support import figures

ROOT = Path(__file__).resolve().parents[2]
VENDORS = ["0x10de"]
IMAGE = f"registry.example/tensorflow/serving@sha256:{'0' * 64}"
TIMEOUT_S = 600

# Two sockets with the GPUs on the first node of each, as boards have them.
SHAPES: dict[str, dict[str, Any]] = {
    "two sockets, 8 GPUs": {"sockets": 2, "cores": 32, "gpus": [0, 0, 0, 0, 1, 1, 1, 1]},
    "sub-NUMA, 2 x 2 nodes of 14 cores, 2 GPUs": {"nodes_per_socket": 2, "cores": 14, "gpus": [0, 2]},
    "sub-NUMA, 2 x 4 nodes of 12 cores, 2 GPUs": {"nodes_per_socket": 4, "cores": 12, "gpus": [1, 5]},
    "a node for each cache, 8 of 8 cores, 1 GPU": {"sockets": 1, "nodes_per_socket": 8, "cores": 8, "gpus": [3]},
    "a node for each cache, 8 of 4 cores, 1 GPU": {"sockets": 1, "nodes_per_socket": 8, "cores": 4, "gpus": [3]},
    "a node for each cache, 8 of 2 cores, 1 GPU": {"sockets": 1, "nodes_per_socket": 8, "cores": 2, "gpus": [3]},
    "hybrid, 6 and 8 cores, 1 GPU": {"sockets": 1, "cores": 6, "hybrid": 8, "gpus": [0]},
    "four cores": {"sockets": 1, "cores": 4, "smt": 1},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--shares", action="store_true", help="print the figures of this checkout as JSON")
    parser.add_argument("--of", type=Path, default=ROOT, help="the checkout to plan with")
    options = parser.parse_args()
    if options.shares:
        print(json.dumps(list(shares(options.of))))
        return 0
    print(figures.takes("1 minute"), flush=True)
    after = measure(ROOT)
    before = dict(measure(options.before)) if options.before else {}
    rows = [(name, *(_beside(before.get(name), found, column) for column in range(4))) for name, found in after]
    title = "Share of a machine's CPUs, in %" + (", before -> now" if before else "")
    header = ("", "CPUs", "kept for the system", "one instance", "one instance with a GPU")
    print(figures.table(title, header, rows))
    return 0


def measure(checkout: Path) -> list[tuple[str, list[Any]]]:
    """Plan in a process of its own: one process cannot import the collection of two checkouts."""
    command = [sys.executable, __file__, "--shares", f"--of={checkout}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S)
    return json.loads(done.stdout)


def shares(checkout: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield each machine's name, count of CPUs, and the three shares; what cannot be planned is named instead."""
    sys.path[:0] = [str(checkout / "collections"), str(ROOT / "tests" / "unit" / "support")]
    for name, topology in [*_shapes(), *_recordings()]:
        online = sum(cpu["online"] for cpu in topology["cpus"])
        yield name, [online, *(_share(topology, online, gpus) for gpus in (None, 0, 1))]


def _share(topology: dict[str, Any], online: int, gpus: int | None) -> Any:
    """Return the share that the system keeps (`gpus` None), or one instance with so many GPUs uses."""
    from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
    from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
    from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan

    if gpus and not topology["gpus"]:
        return None
    model = {"name": "m", "source": {"type": "path", "uri": "/srv/m"}, "version": 1}
    # Recordings know neither their driver nor their architecture, and neither matters here.
    policy = {"install_method": "image", "releases": {"images": {"2.19.1": IMAGE}}, "architecture": "x86_64"}
    policy["allow_unproven_gpus"] = True
    try:
        plan = host_plan(topology, [{"name": "i", "models": ["m"], "gpus": gpus or 0}], [model], policy)
    except WishError as error:
        return str(error.problem)
    part = plan["housekeeping"] if gpus is None else plan["instances"][0]
    return 100 * len(cpu_list.parse(part["cpus"])) / online


def _shapes() -> Iterator[tuple[str, dict[str, Any]]]:
    import machines

    for name, shape in SHAPES.items():
        gpus = [{"node": node} for node in shape.get("gpus", ())]
        yield name, machines.topology(**{**shape, "gpus": gpus, "nics": [{"node": 0}]})


def _recordings() -> Iterator[tuple[str, dict[str, Any]]]:
    from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
    from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology

    folder = os.environ.get("FLEET_TOPOLOGIES")
    for archive in sorted(Path(folder).glob("*.tar.bz2")) if folder else []:
        with TemporaryDirectory() as place:
            with tarfile.open(archive) as packed:
                packed.extractall(place, filter="tar")
            found = sorted(Path(place).rglob("sys"), key=lambda path: len(path.parts))
            if found:
                yield archive.name.removesuffix(".tar.bz2"), topology.read(Tree(str(found[0].parent)), VENDORS)


def _beside(before: list[Any] | None, now: list[Any], column: int) -> str:
    old, new = _words(before[column]) if before else "", _words(now[column])
    return new if not old or old == new else f"{old} -> {new}"


def _words(share: Any) -> str:
    return "-" if share is None else share if isinstance(share, str) else f"{share:.0f}"


if __name__ == "__main__":
    sys.exit(main())

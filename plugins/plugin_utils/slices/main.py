# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A run in slices from its arguments to its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.manager import split_host_pattern
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..caller import COLLECTION, ROOT, version
from ..phrases import counted
from . import allowed, codes, command, reports, show, split
from .conductor import Conductor, Part
from .referee import Referee

CALLBACK = f"{COLLECTION}.slice_events"
# The logs of earlier runs that are kept, so that they never fill a disk.
KEPT = 20

# In slices the batches are those that the runner has worked out; see split.schedule.
SERIAL = "{{ (fleet_ready | default({'serial': 1})).serial }}"


def main(argv: Sequence[str], collections: Path) -> int:
    """Run the command line; return the exit code."""
    if not {"-h", "--help"}.isdisjoint(argv):
        command.parser().print_help()
        return 0
    try:
        order = command.read(argv)
        with folders(order) as (folder, logs):
            return Run(order, folder, logs, collections, _say).all()
    except (WishError, AnsibleError) as error:
        print(f"ERROR! {error}", file=sys.stderr)
        return codes.ERROR


def _say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def folders(order: command.Order) -> Iterator[tuple[Path, Path]]:
    """Make the folder of the run, which goes with it, and that of its logs, which stays."""
    # Below /tmp where it is not: the path of a socket has at most 107 bytes.
    place = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="tfserving-", dir=place if len(place) < 60 else "/tmp"))
    logs = order.logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{order.name}-{os.getpid()}"
    try:
        order.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in sorted(order.logs.glob(f"*-{order.name}-*"))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        logs.mkdir(mode=0o700)
        yield folder, logs
    except OSError as error:
        raise WishError("--logs", f"{error.filename}: {error.strerror}", "name another directory") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Run:
    """The parts of a run, one after another."""

    def __init__(
        self, order: command.Order, folder: Path, logs: Path, collections: Path, say: Callable[[str], None]
    ) -> None:
        self._order, self._folder, self._logs, self._say = order, folder, logs, say
        self._conductor = Conductor(folder, say, _environment(collections))
        self._begun: list[str] = []
        self._done: list[str] = []
        self._stopped = ""
        self._numbers: list[int] = []

    def all(self) -> int:
        """Run everything; return the exit code."""
        order = self._order
        check = "check mode, " if order.check else ""
        count = len(split.deal(order.hosts, order.slices))
        self._say(
            f"{order.given}: {check}{counted(len(order.hosts), 'host')} in {counted(count, 'slice')}, begun at "
            f"{time.strftime('%Y-%m-%d %H:%M:%S')}; logs in {self._logs}"
        )
        with self._conductor.open():
            found = self._read() if order.name in allowed.READING else self._serve()
        return self._finish(found)

    # What reads

    def _read(self) -> list[int]:
        unwritten = {"plan_html": "", "plan_json": "", "plan_markdown": "", "plan_exit_code": False}
        found, _referee = self._slices(self._order.hosts, unwritten)
        return [*found, reports.show(self._order, self._folder, self._numbers, self._say)]

    # What serves

    def _serve(self) -> list[int]:
        found = [*self._locks()]
        left = list(self._order.hosts)
        while not any(found) and left:
            some, referee = self._slices(left, {})
            self._begun += referee.turns.begun
            self._done += referee.turns.done
            self._stopped = referee.turns.why_stopped
            if not referee.drivers or self._conductor.interrupts:
                found += some
                break
            # Slices have ended before they changed anything.
            self._stopped = ""
            found.append(self._drivers(referee.drivers))
            left = [host for host in left if host not in set(referee.drivers)]
        if not self._stopped and not self._conductor.interrupts:
            found += self._beside()
            reports.show(self._order, self._folder, self._numbers, self._say)
        return found

    def _locks(self) -> list[int]:
        """Lock what stands beside the fleet, before anything is changed."""
        return [self._alone("locks", "plays/lock_beside", self._order.beside)] if self._order.beside else []

    def _beside(self) -> list[int]:
        """Apply the gateways and the monitoring, from what the hosts have recorded."""
        return [self._alone("gateways", "plays/beside", self._order.beside)] if self._order.beside else []

    def _drivers(self, hosts: Sequence[str]) -> int:
        """Take the hosts whose drivers change by themselves, from the driver to the proof."""
        count = len(self._order.hosts)
        serial = {
            "fleet_serial": split.limits(self._order.serial, count),
            "fleet_driver_serial": split.limits(self._order.driver_serial, count),
        }
        code = self._alone("drivers", self._order.name, hosts, serial)
        if code:
            self._stopped = "the hosts whose drivers change have failed"
            self._begun += hosts
        else:
            self._done += hosts
        return code

    # Parts

    def _slices(self, hosts: Sequence[str], extra: Mapping[str, Any]) -> tuple[list[int], Referee]:
        order = self._order
        dealt = split.deal(split.by_domain(hosts, order.domain), order.slices)
        split.check(dealt, hosts)
        slices = dict(enumerate(dealt, start=1))
        serves = order.name in allowed.SERVING
        referee = Referee(slices, order.domain, order.most, version(), serves)
        own = {"fleet_sliced": True, **extra, **({"fleet_serial": SERIAL} if serves else {})}
        forks = max(1, -(-order.forks // len(slices)))
        parts = [
            replace(
                self._part(
                    number, f"slice-{number}", order.name, some, {**own, "fleet_hosts": self._ordered(some)}, forks
                ),
                label=f"slice {number}",
            )
            for number, some in slices.items()
        ]
        self._numbers = [*slices]
        found = self._conductor.run(parts, referee, len(order.hosts))
        return [found[number] for number in slices], referee

    def _ordered(self, some: Sequence[str]) -> list[str]:
        """Return the fleet's pattern with the hosts of a slice in front, the order in which plays take them."""
        return [*some, *split_host_pattern(self._order.pattern)]

    def _alone(self, label: str, playbook: str, hosts: Sequence[str], extra: Mapping[str, Any] | None = None) -> int:
        part = self._part(0, label, playbook, hosts, extra or {}, self._order.forks)
        return self._conductor.run([part], Referee({}, {}, [1], version()), len(self._order.hosts))[0]

    def _part(
        self, number: int, label: str, playbook: str, hosts: Sequence[str], extra: Mapping[str, Any], forks: int
    ) -> Part:
        limit, variables = self._folder / f"{label}.hosts", self._folder / f"{label}.json"
        limit.write_text("".join(f"{host}\n" for host in hosts))
        variables.write_text(json.dumps(extra))
        called = [sys.executable, "-m", "ansible", "playbook", *self._order.arguments]
        # Of options that are given twice the last one counts.
        called += [f"--limit=@{limit}", f"--extra-vars=@{variables}", f"--forks={forks}"]
        called.append(self._order.given if playbook == self._order.name else str(ROOT / f"playbooks/{playbook}.yml"))
        return Part(number, label, called, self._logs / f"{label}.log", hosts)

    # The end

    def _finish(self, found: Sequence[int]) -> int:
        ended = self._conductor.ended
        stats = show.counts(ended.stats)
        code = codes.joined([*found, *([codes.INTERRUPTED] if self._conductor.interrupts else [])])
        self._say("\nRECAP " + "*" * 60 + f"\n{show.recap(stats)}")
        if self._order.name in allowed.SERVING:
            self._say(f"\n{self._course(stats)}")
        for hosts, message in show.refusals(ended.fatal if code else ()):
            self._say(f"\n{hosts}: {message}")
        if code:
            self._say(f"\nThe whole output: {self._logs}")
        return code

    def _course(self, stats: Mapping[str, Mapping[str, int]]) -> str:
        done = set(self._done)
        failed = [host for host, found in stats.items() if found["failures"] + found["unreachable"] > 0]
        failed += [
            host for _slice, host, _message in self._conductor.ended.fatal if host not in stats and host not in done
        ]
        why = f"\nThe run has stopped: {self._stopped}" if self._stopped else ""
        return show.course(self._order.hosts, self._begun, self._done, failed) + why


def _environment(collections: Path) -> dict[str, str]:
    """Return the environment of all parts: this collection first, and its callback."""
    paths = [str(collections), *constants.COLLECTIONS_PATHS]
    enabled = [*constants.CALLBACKS_ENABLED, CALLBACK]
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(dict.fromkeys(paths)),
        "ANSIBLE_CALLBACKS_ENABLED": ",".join(dict.fromkeys(enabled)),
    }

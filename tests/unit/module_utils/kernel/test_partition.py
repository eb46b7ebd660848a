# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A partition in force, against a host of files whose systemd behaves like a real one, its faults included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.partition import (
    ABSENT,
    Host,
    PartitionError,
    remarks,
)
from machines import write

CGROUPS = "sys/fs/cgroup"
SLICES = [
    {"name": "tfserving.slice", "cpus": "2-3", "nodes": ""},
    {"name": "system.slice", "cpus": "0-1", "nodes": ""},
    {"name": "init.scope", "cpus": "0-1", "nodes": ""},
]
PARTITION = {"mode": "cpuset", "slices": SLICES, "cpus": "0-3", "housekeeping": "0-1", "irqs": None}
AFFINITY = {"mode": "affinity", "slices": [], "cpus": "0-3", "housekeeping": "0-1", "irqs": None}
IRQS = {"cpus": "0-1", "banned": "2-3"}


class Systemd:
    """What a host's systemd, kernel and interrupt script do, as far as the code can tell.

    ``files`` are the limits in the units' files, known after a reload. ``keeps`` tells whether a cgroup keeps a limit
    that was lifted (systemd#43846), ``deaf`` names units whose cgroup is not brought in line.
    """

    def __init__(self, root: Path, keeps: bool = True, deaf: tuple[str, ...] = ()) -> None:
        self.root, self.keeps, self.deaf = root, keeps, deaf
        self.files: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.calls: list[str] = []
        self.active: set[str] = set()
        self.environment = ""
        for file, text in {
            f"{CGROUPS}/cgroup.controllers": "cpuset cpu memory",
            f"{CGROUPS}/cpuset.cpus.effective": "0-3",
            f"{CGROUPS}/cpuset.mems.effective": "0",
            "sys/devices/system/cpu/possible": "0-7",
            "sys/devices/system/cpu/online": "0-3",
            "sys/devices/system/node/possible": "0",
        }.items():
            write(root, file, text)
        for group, pid in (("system.slice/sshd.service", 10), ("tfserving.slice/one.service", 20), ("init.scope", 1)):
            write(root, f"{CGROUPS}/{group}/cgroup.procs", str(pid))
            unit = group.split("/")[0]
            for what, value in (("cpus", "0-3"), ("mems", "0")):
                write(root, f"{CGROUPS}/{unit}/cpuset.{what}", "")
                write(root, f"{CGROUPS}/{unit}/cpuset.{what}.effective", value)
        self.kernel()

    def kernel(self) -> None:
        """Grants processes and cgroups what the cgroups ask for, like the kernel after every write."""
        for folder in (self.root / CGROUPS).iterdir():
            if (folder / "cpuset.cpus").exists():
                asked = cpu_list.parse((folder / "cpuset.cpus").read_text())
                cpus = cpu_list.format(set(asked or range(8)) & {0, 1, 2, 3})
                (folder / "cpuset.cpus.effective").write_text(cpus)
                for file in folder.rglob("cgroup.procs"):
                    for pid in file.read_text().split():
                        write(self.root, f"proc/{pid}/status", f"Name:\tx\nCpus_allowed_list:\t{cpus}")

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        self.calls.append(" ".join(arguments[1:]))
        return 0, getattr(self, arguments[1].replace("-", "_"))(*arguments[2:]) or "", ""

    def show(self, properties: str, *units: str) -> str:
        if "ControlGroup" not in properties:
            state = "active" if units[0] in self.active else "inactive"
            return f"ActiveState={state}\nMainPID=77\n"
        blocks = []
        for unit in units:
            group = f"/{unit}" if (self.root / CGROUPS / unit).is_dir() else ""
            known = self.known.get(unit, "").replace(",", " ")
            blocks.append(f"Id={unit}\nControlGroup={group}\nAllowedCPUs={known}\nAllowedMemoryNodes=\n")
        return "\n".join(blocks)

    def daemon_reload(self) -> None:
        before, self.known = self.known, dict(self.files)
        for unit in {*before, *self.known} - set(self.deaf):
            file = self.root / CGROUPS / unit / "cpuset.cpus"
            if file.exists() and (self.known.get(unit) or not self.keeps):
                file.write_text(self.known.get(unit, ""))
        self.kernel()

    def restart(self, unit: str) -> None:
        self.active.add(unit)
        if unit.startswith("tfserving-fleet"):
            steer(self.root)
        else:
            write(self.root, "proc/77/environ", self.environment)

    def stop(self, unit: str) -> None:
        self.active.discard(unit)


def steer(root: Path) -> None:
    """Does as keep-interrupts does: interrupt 24 cannot be moved."""
    steered = []
    for file, value in (
        ("proc/irq/default_smp_affinity", "3"),
        ("sys/devices/virtual/workqueue/cpumask", "3"),
        ("proc/irq/30/smp_affinity_list", "0-1"),
    ):
        steered.append(f"/{file} {(root / file).read_text().strip()}")
        write(root, file, value)
    write(root, "run/tfserving-fleet/steered", "\n".join(steered))
    write(root, "run/tfserving-fleet/immovable", "/proc/irq/24/smp_affinity_list")


def interrupts(root: Path) -> None:
    write(root, "proc/irq/default_smp_affinity", "f")
    write(root, "sys/devices/virtual/workqueue/cpumask", "f")
    write(root, "proc/irq/30/smp_affinity_list", "0-3")
    write(root, "proc/irq/24/smp_affinity_list", "3")


class FakeScheduler:
    """Affinities of threads by number."""

    def __init__(self, **threads):
        self.threads = {int(name[1:]): set(cpus) for name, cpus in threads.items()}

    def sched_getaffinity(self, pid):
        if pid not in self.threads:
            raise ProcessLookupError
        return set(self.threads[pid])

    def sched_setaffinity(self, pid, mask):
        self.threads[pid] = set(mask)


@pytest.fixture
def root(tmp_path):
    return tmp_path


def bring(systemd, partition, dry=False, scheduler=None):
    record = str(systemd.root / "var/lib/tfserving-fleet/partition.json")
    settled = Host(Tree(str(systemd.root)), systemd.run, record, dry, scheduler or FakeScheduler())
    original = Path.write_text

    def write_text(path, *arguments, **keys):
        result = original(path, *arguments, **keys)
        if path.name.startswith("cpuset.") and "effective" not in path.name:
            systemd.kernel()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", write_text)
        return settled.bring(partition)


def granted(systemd, unit):
    return (systemd.root / CGROUPS / unit / "cpuset.cpus.effective").read_text().strip()


def split(systemd):
    systemd.files = {each["name"]: each["cpus"] for each in SLICES}
    return bring(systemd, PARTITION)


def test_a_split_is_in_force_at_once_and_nothing_is_left_for_a_second_run(root):
    systemd = Systemd(root)
    done = split(systemd)
    assert done.changed == ["init.scope", "system.slice", "tfserving.slice"]
    assert {unit["name"]: unit["cpus"] for unit in done.units} == {
        "tfserving.slice": "2-3",
        "system.slice": "0-1",
        "init.scope": "0-1",
    }
    systemd.calls.clear()
    assert bring(systemd, PARTITION).changed == []
    assert not any(call.startswith(("daemon-reload", "restart")) for call in systemd.calls)


def test_check_mode_says_what_it_would_change_and_calls_nothing_that_changes(root):
    systemd = Systemd(root)
    assert bring(systemd, PARTITION, dry=True).changed == ["init.scope", "system.slice", "tfserving.slice"]
    assert not any(call.startswith(("daemon-reload", "restart")) for call in systemd.calls)
    assert not (root / "var").exists()


def test_a_unit_that_systemd_does_not_bring_in_line_is_settled_by_its_cgroup(root):
    systemd = Systemd(root, deaf=("init.scope",))
    split(systemd)
    assert granted(systemd, "init.scope") == "0-1"


@pytest.mark.parametrize("keeps", [True, False])
def test_lifting_gives_every_cpu_back_whether_or_not_systemd_forgets_the_cgroup(root, keeps):
    systemd = Systemd(root, keeps)
    split(systemd)
    systemd.files = {}
    assert bring(systemd, {}).changed == ["init.scope", "system.slice", "tfserving.slice"]
    assert {granted(systemd, each["name"]) for each in SLICES} == {"0-3"}
    assert not (root / "var/lib/tfserving-fleet/partition.json").exists()
    assert bring(systemd, {}).changed == []


def test_a_lifted_limit_leaves_room_for_cpus_that_are_switched_on_later(root):
    systemd = Systemd(root)
    split(systemd)
    systemd.files = {}
    bring(systemd, {})
    assert (root / CGROUPS / "system.slice/cpuset.cpus").read_text().strip() == "0-7"


def test_what_an_administrator_limits_is_none_of_our_business(root):
    systemd = Systemd(root)
    systemd.files = {"system.slice": "0"}
    systemd.daemon_reload()
    assert bring(systemd, {}).changed == []
    assert granted(systemd, "system.slice") == "0"


def test_an_administrators_own_limit_comes_back_when_ours_is_lifted(root):
    systemd = Systemd(root)
    split(systemd)
    systemd.files = {"system.slice": "0"}
    bring(systemd, {})
    assert granted(systemd, "system.slice") == "0"
    assert granted(systemd, "init.scope") == "0-3"


def test_another_file_that_wins_stops_the_run_in_one_sentence(root):
    systemd = Systemd(root)
    systemd.files = {each["name"]: each["cpus"] for each in SLICES} | {"system.slice": "0-3"}
    with pytest.raises(PartitionError) as error:
        bring(systemd, PARTITION)
    assert str(error.value) == (
        "system.slice: systemd has other CPUs or memory nodes for it than the plan, since another file wins;"
        " see systemctl cat system.slice"
    )


def test_a_cgroup_that_cannot_be_limited_stops_the_run(root):
    systemd = Systemd(root)
    for file in ("cpuset.cpus", "cpuset.cpus.effective"):
        (root / CGROUPS / "system.slice" / file).unlink()
    with pytest.raises(PartitionError) as error:
        split(systemd)
    assert str(error.value) == (
        "system.slice: the kernel grants it AllowedCPUs 0-3 where the plan has 0-1;"
        " compare systemctl cat system.slice with /sys/fs/cgroup/system.slice/cpuset.cpus"
    )


def test_a_process_that_is_granted_more_than_its_slice_stops_the_run(root):
    systemd = Systemd(root)
    split(systemd)
    write(root, "proc/10/status", "Name:\tx\nCpus_allowed_list:\t0-3")
    with pytest.raises(
        PartitionError, match=re.escape("system.slice: process 10 may run on 0-3 where the plan has 0-1")
    ):
        bring(systemd, PARTITION)


def test_a_process_outside_of_every_slice_is_told_of(root):
    systemd = Systemd(root)
    write(root, f"{CGROUPS}/docker/abc/cgroup.procs", "30")
    write(root, "proc/30/status", "Cpus_allowed_list:\t0-3")
    (root / CGROUPS / "docker/cgroup.procs").write_text("")
    (problem,) = split(systemd).problems
    assert problem.startswith("/docker: 1 of its processes may run on serving CPUs; ")


def test_a_slice_in_which_nothing_runs_yet_is_no_obstacle(root):
    systemd = Systemd(root)
    systemd.files = {each["name"]: each["cpus"] for each in SLICES} | {"machine.slice": "0-1"}
    with_machines = {**PARTITION, "slices": [*SLICES, {"name": "machine.slice", "cpus": "0-1", "nodes": ""}]}
    assert "machine.slice" not in {unit["name"] for unit in bring(systemd, with_machines).units}


def test_interrupts_are_moved_and_those_that_nobody_can_move_are_named(root):
    systemd = Systemd(root)
    interrupts(root)
    done = bring(systemd, {"irqs": IRQS})
    assert done.changed == ["interrupts"]
    assert done.interrupts == {"astray": {}, "immovable": {"proc/irq/24/smp_affinity_list": "3"}}
    assert bring(systemd, {"irqs": IRQS}).changed == []


def test_an_interrupt_that_went_astray_since_is_moved_again(root):
    systemd = Systemd(root)
    interrupts(root)
    bring(systemd, {"irqs": IRQS})
    write(root, "proc/irq/30/smp_affinity_list", "2")
    assert bring(systemd, {"irqs": IRQS}, dry=True).changed == ["interrupts"]
    assert bring(systemd, {"irqs": IRQS}).changed == ["interrupts"]


def test_interrupts_get_their_former_values_back(root):
    systemd = Systemd(root)
    interrupts(root)
    bring(systemd, {"irqs": IRQS})
    assert bring(systemd, {}).changed == ["interrupts"]
    assert (root / "proc/irq/30/smp_affinity_list").read_text().strip() == "0-3"
    assert (root / "proc/irq/default_smp_affinity").read_text().strip() == "f"
    assert not systemd.active
    assert bring(systemd, {}).changed == []


def test_an_interrupt_that_stays_astray_stops_the_run(root):
    systemd = Systemd(root)
    interrupts(root)
    write(root, "proc/irq/31/smp_affinity_list", "2-3")
    with pytest.raises(PartitionError) as error:
        bring(systemd, {"irqs": IRQS})
    assert str(error.value) == (
        "/proc/irq/31/smp_affinity_list: may still go to 2-3 where the plan has 0-1;"
        " see journalctl -u tfserving-fleet-interrupts.service"
    )


def test_irqbalance_is_restarted_when_it_does_not_spare_serving_and_only_then(root):
    systemd = Systemd(root)
    interrupts(root)
    systemd.active.add("irqbalance.service")
    write(root, "proc/77/environ", "PATH=/bin\0IRQBALANCE_BANNED_CPULIST=1\0")
    systemd.environment = "TFSERVING_FLEET=1\0IRQBALANCE_BANNED_CPULIST=2-3\0"
    assert "irqbalance.service" in bring(systemd, {"irqs": IRQS}).changed
    assert bring(systemd, {"irqs": IRQS}).changed == []
    systemd.environment = "PATH=/bin\0"
    assert "irqbalance.service" in bring(systemd, {}).changed
    assert bring(systemd, {}).changed == []


def process(root, number, parent=1, group="/system.slice/x.service"):
    write(root, f"proc/{number}/stat", f"{number} (a) (b)) S {parent} 1 1 0 -1 0 0 0")
    write(root, f"proc/{number}/cgroup", f"1:name=systemd:{group}")
    (root / f"proc/{number}/task/{number}").mkdir(parents=True)


@pytest.fixture
def old(root):
    """A host with cgroup version 1: systemd, a daemon and its child on CPU 1, a kernel thread, a server, a guest."""
    systemd = Systemd(root)
    (root / CGROUPS / "cgroup.controllers").unlink()
    process(root, 1, parent=0)
    process(root, 10)
    process(root, 11, parent=10)
    process(root, 2, parent=0)
    process(root, 3, parent=2)
    process(root, 30, parent=0)
    process(root, 20, group="/tfserving.slice/tfserving@one.service")
    return systemd, FakeScheduler(p1="0123", p10="0123", p11="1", p3="23", p20="23", p30="0123")


def affinities(threads):
    return FakeScheduler(**{name: [int(cpu) for cpu in cpus] for name, cpus in threads.items()}).threads


@pytest.fixture
def threads(old):
    old[1].threads = {number: {int(cpu) for cpu in cpus} for number, cpus in old[1].threads.items()}
    return old[1].threads


def test_affinity_moves_what_runs_and_spares_servers_kernel_threads_and_guests(old, threads):
    systemd, scheduler = old
    assert bring(systemd, AFFINITY, scheduler=scheduler).changed == ["2 threads"]
    assert threads == affinities({"p1": "01", "p10": "01", "p11": "1", "p3": "23", "p20": "23", "p30": "0123"})
    assert bring(systemd, AFFINITY, scheduler=scheduler).changed == []


def test_affinity_is_given_back_to_those_who_were_held(old, threads):
    systemd, scheduler = old
    bring(systemd, AFFINITY, scheduler=scheduler)
    assert bring(systemd, {}, scheduler=scheduler).changed == ["2 threads"]
    assert threads == affinities({"p1": "0123", "p10": "0123", "p11": "1", "p3": "23", "p20": "23", "p30": "0123"})
    assert bring(systemd, {}, scheduler=scheduler).changed == []


def test_a_wider_housekeeping_set_reaches_those_who_were_held_to_the_narrow_one(old, threads):
    systemd, scheduler = old
    bring(systemd, {**AFFINITY, "housekeeping": "0"}, scheduler=scheduler)
    bring(systemd, AFFINITY, scheduler=scheduler)
    assert threads[10] == {0, 1}


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        ({}, []),
        ({"mode": "cpuset", "reason": "a reason", "warnings": []}, []),
        ({"mode": "affinity", "reason": "a reason", "warnings": ["a warning"]}, ["a warning"]),
        ({"mode": "none", "reason": "too small", "warnings": []}, ["too small"]),
        (ABSENT, ["cpu_partition_state is absent: nothing is kept apart"]),
    ],
)
def test_people_are_told_why_nothing_is_kept_apart_and_of_warnings(partition, told):
    assert remarks(partition) == told

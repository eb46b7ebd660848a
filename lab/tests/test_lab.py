# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the lab that decide something; what runs programs is tried by running the lab."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shlex
import subprocess
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from fleet_lab import cli, environment, hosts, shell, testing
from fleet_lab.build import debian, hashing, image, python_packages, server_source, snapshot
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.stages import Stages


@pytest.fixture
def lab(tmp_path):
    return Lab(root=Path(__file__).resolve().parents[2], cache=tmp_path)


def test_the_cache_lies_in_the_checkout_unless_told_otherwise(tmp_path):
    assert Lab.from_environment(tmp_path, {}).cache == tmp_path / ".cache"
    assert Lab.from_environment(tmp_path, {"FLEET_CACHE": "/var/cache/fleet"}).runtime == Path(
        "/var/cache/fleet/tensorflow"
    )


def test_an_unknown_server_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(Stop, match=r"^LAB_SERVER=nightly is not known; use reference or upstream$"):
        Lab.from_environment(tmp_path, {"LAB_SERVER": "nightly"})


def test_every_stage_comes_after_what_it_needs():
    stages = cli.order(["up"])
    assert len(stages) == len(set(stages))
    for position, name in enumerate(stages):
        assert set(cli.PARTS[name][0]) <= set(stages[:position]), name


def test_the_archive_of_the_machine_is_used_whatever_its_mirror():
    uris = (
        "'https://download.docker.com/linux/other/dists/bookworm/InRelease' x 0 \n"
        "'http://cache:3142/mirror.example/debian/dists/bookworm/InRelease' y 0 \n"
        "'http://cache:3142/mirror.example/debian-security/dists/bookworm-security/InRelease' z 0 \n"
    )
    assert debian.archive_lines("trixie", uris) == [
        "deb http://cache:3142/mirror.example/debian trixie main",
        "deb http://cache:3142/mirror.example/debian trixie-updates main",
        "deb http://cache:3142/mirror.example/debian-security trixie-security main",
    ]


def test_a_machine_without_a_debian_archive_gets_debians_own():
    ubuntu = "'http://archive.ubuntu.com/ubuntu/dists/noble/InRelease' x 0 \n"
    assert debian.archive_lines("bookworm", ubuntu)[0] == "deb http://deb.debian.org/debian bookworm main"


def test_a_proxy_is_carried_to_the_hosts_but_not_one_on_loopback():
    config = (
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::Proxy "http://127.0.0.1:3128";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::Languages "none";\n'
    )
    assert debian.carried_settings(config) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
    ]


def test_the_image_changes_with_the_recipe_and_with_the_archive(lab, tmp_path):
    root = tmp_path / "copy"
    (root / "lab" / "host").mkdir(parents=True)
    recipe = root / "lab" / "host" / "packages.txt"
    recipe.write_text("systemd\n")
    copy = Lab(root=root, cache=tmp_path)
    first = image.image_tag(copy, ["deb http://a trixie main"], [])
    assert image.image_tag(copy, ["deb http://b trixie main"], []) != first
    recipe.write_text("systemd\ndbus\n")
    assert image.image_tag(copy, ["deb http://a trixie main"], []) != first


def test_comments_in_the_package_list_are_not_packages():
    assert image.package_names("# why\nsudo  # to become\n\nkmod\n") == ["sudo", "kmod"]


def test_keys_tell_where_one_part_ends_and_the_next_begins():
    assert hashing.key_of("ab", "c") != hashing.key_of("a", "bc")


def test_a_file_that_becomes_executable_changes_the_key_and_compiled_python_does_not(tmp_path):
    program = tmp_path / "bin" / "program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    before = hashing.key_of_files([program.parent])
    (program.parent / "__pycache__").mkdir()
    (program.parent / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert hashing.key_of_files([program.parent]) == before
    program.chmod(0o755)
    assert hashing.key_of_files([program.parent]) != before


@pytest.mark.parametrize(
    ("version", "namespace", "mounts"), [(1, "host", ["/sys/fs/cgroup:/sys/fs/cgroup:rw"]), (2, "private", [])]
)
def test_hosts_get_a_cgroup_tree_that_fits_the_machine(lab, version, namespace, mounts):
    arguments = hosts.host_arguments(lab, version)
    assert f"--cgroupns={namespace}" in arguments
    volumes = [argument.removeprefix("--volume=") for argument in arguments if argument.startswith("--volume=")]
    assert volumes == [*mounts, f"{lab.runtime}:/usr/lib/lab-tensorflow:ro"]


def test_hosts_of_another_debian_mount_tensorflow_for_its_python(lab, tmp_path):
    trixie = dataclasses.replace(lab, suite="trixie")
    assert lab.host_runtime == lab.runtime == tmp_path / "tensorflow"
    assert trixie.host_runtime == tmp_path / "tensorflow-trixie"
    assert trixie.runtime == lab.runtime
    assert f"--volume={trixie.host_runtime}:/usr/lib/lab-tensorflow:ro" in hosts.host_arguments(trixie, 2)


def test_wheels_for_another_python_are_asked_for_by_every_tag_that_its_debian_takes(monkeypatch):
    monkeypatch.setattr(python_packages.platform, "machine", lambda: "x86_64")
    options = python_packages.foreign_options((3, 13))
    assert options[:5] == ["--python-version=313", "--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"]
    assert {"--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64", "--platform=any"} <= set(options)


def test_the_runtime_of_another_debian_is_unpacked_beside_this_machines(lab, monkeypatch):
    asked = []
    monkeypatch.setattr(
        python_packages,
        "_unpack",
        lambda _lab, _name, folder, options=(): asked.append((folder.name, bool(options))) or "done",
    )
    assert python_packages.runtime(lab) == "done"
    assert python_packages.runtime(dataclasses.replace(lab, suite="trixie")) == "done; for trixie: done"
    assert asked == [("tensorflow", False), ("tensorflow", False), ("tensorflow-trixie", True)]


def test_both_hierarchies_side_by_side_count_as_the_old_one(tmp_path):
    (tmp_path / "unified").mkdir()
    assert hosts.cgroup_version(tmp_path) == 1
    (tmp_path / "cgroup.controllers").touch()
    assert hosts.cgroup_version(tmp_path) == 2


def test_a_lock_is_fulfilled_only_by_its_exact_versions(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text("ruamel.yaml==0.18.6 \\\n    --hash=sha256:0\n    # via x==9\nrich[jupyter]==14.0.0 \\\n")
    (tmp_path / "ruamel_yaml-0.18.6.dist-info").mkdir()
    (tmp_path / "rich-13.0.0.dist-info").mkdir()
    assert python_packages.missing(lock, tmp_path) == ["rich==14.0.0"]


def test_the_table_has_every_stage_the_slowest_first_and_the_time_from_first_to_last():
    times = iter([0.0, 1.5, 9.5, 11.5])
    stages = Stages(out=io.StringIO(), clock=lambda: next(times))
    stages.run("up", lambda: "")
    stages.run("host image", lambda: "built")
    assert stages.table().splitlines() == [
        "host image      2.0 s  built",
        "up              1.5 s",
        "total          11.5 s",
    ]
    assert stages.out.getvalue() == "▸ up … 1.5 s\n▸ host image … 2.0 s  built\n"


def test_a_stage_that_fails_ends_the_run_and_is_in_the_table():
    stages = Stages(out=io.StringIO())

    def work():
        raise Stop("no disk; buy one")

    with pytest.raises(Stop):
        stages.run("image", work)
    assert [(stage.name, stage.passed) for stage in stages.done] == [("image", False)]
    assert re.fullmatch(r"▸ image … \d+\.\d s  failed\n", stages.out.getvalue())


def test_stages_run_side_by_side_under_their_own_labels(capfd):
    stages, meeting = Stages(out=io.StringIO()), threading.Barrier(2, timeout=30)

    def work(label):
        meeting.wait()  # nobody gets on unless both run at once
        shell.openly(["echo", "done"], label=label)

    stages.show_all([("unit", work), ("molecule", work)], at_once=2)
    assert sorted(capfd.readouterr().out.splitlines()) == ["molecule │ done", "unit │ done"]
    assert {stage.name for stage in stages.done if stage.passed} == {"unit", "molecule"}


def test_one_stage_alone_has_the_terminal_to_itself():
    labels = []
    Stages(out=io.StringIO()).show_all([("unit", labels.append)], at_once=2)
    assert labels == [""]


def test_after_a_failure_what_runs_is_finished_and_nothing_begun():
    stages, failed, begun = Stages(out=io.StringIO()), threading.Event(), []

    def fails(_label):
        failed.set()
        raise Stop("the first has failed", "its complaint")

    def lasts(_label):
        assert failed.wait(30)
        raise Stop("so has the second", "another")

    with pytest.raises(Stop) as stop:
        stages.show_all([("a", fails), ("b", lasts), ("c", begun.append)], at_once=2)
    assert sorted(str(stop.value).split("; ")) == ["so has the second", "the first has failed"]
    assert sorted(stop.value.details.splitlines()) == ["another", "its complaint"]
    assert begun == []


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_number_of_jobs_that_is_none_is_refused(tmp_path, value):
    with pytest.raises(Stop, match=rf"^LAB_JOBS={value} is not a number of at least 1$"):
        Lab.from_environment(tmp_path, {"LAB_JOBS": value})


def test_a_failed_command_shows_its_last_lines(tmp_path):
    with pytest.raises(Stop, match=r"^sh failed with exit code 3; its whole output is in .*/log$") as stop:
        shell.quietly(["sh", "-c", "echo the cause; exit 3"], tmp_path / "log")
    assert stop.value.details.endswith("the cause")


def test_a_command_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Stop, match=r"^the command no-such-program is not there;"):
        shell.quietly(["no-such-program"], tmp_path / "log")


def test_the_printed_variables_survive_a_shell():
    variables = {"LAB_RUNTIME": "/a path/with 'quotes' and $signs"}
    script = environment.exports(variables) + '\nprintf %s "$LAB_RUNTIME"'
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    assert told.stdout == variables["LAB_RUNTIME"]
    assert shlex.split(environment.exports(variables))[0] == "export"


def test_a_failure_in_the_open_repeats_its_complaints_where_there_is_no_terminal(capfd):
    framed = r"  \033[2m│\033[0m \033[31mfatal: [gpu-1]: FAILED! =>\033[0m\n"
    said = f"echo 'ok: [gpu-1]'; printf '{framed}'; echo '    msg: no such model'; seq 100; exit 2"
    with pytest.raises(Stop) as stop:
        shell.openly(["sh", "-c", said])
    assert stop.value.details.splitlines() == ["fatal: [gpu-1]: FAILED! =>", "    msg: no such model"]
    assert "ok: [gpu-1]" in capfd.readouterr().out


def test_a_failure_without_a_complaint_repeats_its_last_lines():
    assert shell.complaints(str(number) for number in range(100)).splitlines() == [str(n) for n in range(85, 100)]


def test_an_upstream_that_cannot_be_reached_is_replaced_and_said_so(lab, monkeypatch):
    monkeypatch.setattr(server_source, "reachable", lambda url: False)
    (lab.repository).mkdir(parents=True)
    (lab.repository / "fingerprint").write_text("ABCD\n")
    wanted = Lab(lab.root, lab.cache, server="upstream")
    assert server_source.server_source(wanted).endswith("cannot be reached: falling back to the reference server")
    assert '"uri": "http://packages.lab/apt"' in lab.server_facts.read_text()


def test_shell_scripts_are_told_by_their_first_line(tmp_path):
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text("#!/usr/bin/env bash\n")
    (tmp_path / "lab" / "bin").mkdir(parents=True)
    (tmp_path / "lab" / "bin" / "launcher").write_text("#!/bin/sh\n")
    (tmp_path / "lab" / "lab.py").write_text("#!/usr/bin/env python3\n")
    (tmp_path / "lab" / "empty").touch()
    assert testing.shell_scripts(tmp_path) == [".ci/run", "lab/bin/launcher"]


def test_the_default_scenario_comes_first_and_the_longest_next(tmp_path):
    for name in ("alternative", "changes", "default", "failures", "runtime", "shared", "vm"):
        (tmp_path / "molecule" / name).mkdir(parents=True)
        if name != "shared":
            (tmp_path / "molecule" / name / "molecule.yml").touch()
    assert testing.scenarios(tmp_path) == ["default", "failures", "runtime", "changes", "alternative", "vm"]


def test_all_scenarios_run_two_of_them_on_the_other_debian(lab, monkeypatch):
    monkeypatch.setattr(testing.environment, "lab_platform", lambda _lab: {})
    names = {name for name, _work in testing.molecule(lab)}
    assert {"molecule: default", "molecule: alternative (trixie)", "molecule: nvidia_driver (trixie)"} <= names
    other = {name for name, _work in testing.molecule(dataclasses.replace(lab, suite="trixie"))}
    assert {"molecule: default", "molecule: alternative (bookworm)"} <= other
    assert [name for name, _work in testing.molecule(lab, "alternative")] == ["molecule: alternative"]


def test_a_scenario_on_the_other_debian_makes_it_ready_first(lab, monkeypatch):
    done = []
    monkeypatch.setattr(testing.environment, "lab_platform", lambda lab: {"LAB_SUITE": lab.suite})
    monkeypatch.setattr(testing, "host_runtime", lambda lab: done.append(f"runtime of {lab.suite}"))
    monkeypatch.setattr(testing, "image", lambda lab: done.append(f"image of {lab.suite}"))
    monkeypatch.setattr(testing, "openly", lambda words, env, *_: done.append(f"{words[-1]} on {env['LAB_SUITE']}"))
    stages = dict(testing.molecule(lab))
    stages["molecule: alternative (trixie)"]("")
    stages["molecule: default"]("")
    assert done == ["runtime of trixie", "image of trixie", "alternative on trixie", "default on bookworm"]


def test_the_driver_is_built_and_run_on_the_release_that_the_other_tests_left_out(lab, monkeypatch):
    monkeypatch.setattr(testing.environment, "lab_platform", lambda _lab: {})
    assert [name for name, _work in testing.driver(lab)] == ["molecule: nvidia_driver", "molecule: nvidia_driver_dkms"]


def test_a_snapshot_changes_with_what_a_run_would_make_another_host_of(tmp_path):
    root = tmp_path / "copy"
    for name in snapshot.SOURCES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("as it is\n")
    copy = Lab(root=root, cache=tmp_path)
    tag = snapshot.snapshot_tag(copy, "image:1", "models")
    assert tag == snapshot.snapshot_tag(copy, "image:1", "models")
    assert tag.startswith("tfserving-lab-serving:bookworm-")
    assert tag != snapshot.snapshot_tag(copy, "image:2", "models")
    assert tag != snapshot.snapshot_tag(copy, "image:1", "other models")
    for name in snapshot.SOURCES:
        (root / name).write_text("changed\n")
        changed = snapshot.snapshot_tag(copy, "image:1", "models")
        assert changed != tag, name
        tag = changed


def test_a_snapshot_is_of_this_machine(lab, monkeypatch):
    tag = snapshot.snapshot_tag(lab, "image", "models")
    monkeypatch.setattr(snapshot.os, "cpu_count", lambda: 4096)
    assert snapshot.snapshot_tag(lab, "image", "models") != tag


@pytest.fixture
def side_by_side():
    """Run stages of these names as `make test` does; return who was running when each began."""

    def run(*names, jobs=2, failing=""):
        running, begun = [], {}
        gates = {name: threading.Event() for name in names}

        def work(name, _label):
            begun[name] = list(running)
            running.append(name)
            # As long as what may run beside it, which it is there to meet.
            if name == "molecule: vm" and jobs > 1 and "unit tests" in names and "molecule: vm_boots" not in names:
                assert gates["unit tests"].wait(60)
            gates[name].set()
            running.remove(name)
            if name == failing:
                raise Stop(f"{name} failed")

        stages = [(name, partial(work, name)) for name in names]
        with suppress(Stop):
            Stages(out=io.StringIO()).show_all(testing.arranged(stages), jobs)
        return begun

    return run


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_beside_the_emulated_machine_runs_one_stage_that_is_a_single_process(side_by_side, jobs):
    names = ("unit tests", "ansible-core 2.19: tests", "reference server tests", "molecule: default", "molecule: vm")
    begun = side_by_side(*names, jobs=jobs)
    assert set(begun) == set(names)
    assert all("molecule: vm" not in beside for name, beside in begun.items() if name != "unit tests")


def test_two_emulated_machines_never_run_at_once_nor_beside_others(side_by_side):
    begun = side_by_side("unit tests", "molecule: vm", "molecule: vm_boots", jobs=4)
    assert begun == {"molecule: vm": [], "molecule: vm_boots": [], "unit tests": []}


def test_nothing_waits_for_an_emulated_machine_that_never_begins(side_by_side):
    begun = side_by_side("molecule: vm", "molecule: vm_boots", "molecule: default", jobs=4, failing="molecule: vm")
    assert "molecule: vm" in begun


def test_without_an_emulated_machine_all_stages_run_in_their_order():
    names = ["unit tests", "molecule: default"]
    assert [name for name, _work in testing.arranged([(name, print) for name in names])] == names


def test_all_stages_are_run(lab, monkeypatch):
    stages, done = Stages(out=io.StringIO()), []
    names = ["unit tests", "molecule: default", "molecule: vm"]
    monkeypatch.setattr(cli, "_prepare", lambda *_arguments: None)
    suite = ((), lambda: [(name, lambda _label, name=name: done.append(name)) for name in names])
    cli._run_suites(dataclasses.replace(lab, jobs=1), stages, [suite])
    assert done == ["molecule: vm", "unit tests", "molecule: default"]

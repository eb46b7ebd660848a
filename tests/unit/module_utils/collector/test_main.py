# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The file that the collector writes, and what becomes of a part that fails."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import __main__ as collector
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import exposition, programs, written
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.metrics import METRICS
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.sample import Sample, sample
from collected_host import NOW, CollectedHost
from patience import LONG_S


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    place = CollectedHost(tmp_path)
    place.plan()
    place.serve()
    return place


def collect(place):
    code = collector.main(str(place.root), place.run, lambda: NOW)
    return code, (place.root / collector.FILE).read_text()


def parts_of(text):
    begin = 'tfserving_collector_success{part="'
    lines = (line for line in text.splitlines() if line.startswith(begin))
    return {line[len(begin) :].partition('"')[0]: line[-1] for line in lines}


def test_the_file_has_help_and_type_of_each_metric_once_and_no_timestamp(place):
    code, text = collect(place)
    assert code == 0
    assert (
        "# HELP tfserving_instance_cpus CPUs that its process may use.\n# TYPE tfserving_instance_cpus gauge\n" in text
    )
    heads = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(heads) == len(set(heads))
    assert set(heads) <= set(METRICS)
    for line in text.splitlines():
        if not line.startswith("#"):
            assert len(line.rpartition("}")[2].split()) == (1 if "}" in line else 2), line


def test_node_exporter_may_read_the_file_and_nobody_the_notes(place):
    collect(place)
    assert stat.S_IMODE(os.stat(place.root / collector.FILE).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(place.state_path).st_mode) == 0o600
    folder = (place.root / collector.FILE).parent
    assert sorted(os.listdir(folder)) == ["other.prom", "tfserving.prom"]


def test_a_part_that_fails_hides_no_other_and_has_one_line_in_the_journal(place, capsys):
    place.answers["systemctl"] = programs.ProgramError("systemctl did not answer within 3 s")
    code, text = collect(place)
    assert code == 0
    assert parts_of(text) == {
        "plan": "1", "instances": "0", "memory": "0", "allocator": "0", "cpus": "0", "cgroup": "0", "models": "0",
    }  # fmt: skip
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "tfserving-collector: instances: systemctl did not answer within 3 s"
    assert len(said) == 6
    assert len(place.asked) == 1


def test_what_a_part_found_before_it_failed_is_told(place):
    def half(_host):
        yield sample("gpus", 3)
        raise OSError("broken\nin two")

    part = collector.Part("gpus", lambda host: True, half)
    assert collector.collected(place.host(), (part,)) == [
        Sample("tfserving_gpus", 3),
        Sample("tfserving_collector_success", False, ("gpus",)),
    ]


def test_a_part_without_bounds_is_cut(place, capsys, monkeypatch):
    def endless(_host):
        while True:
            yield sample("gpus", 3)

    monkeypatch.setattr(collector, "MOST_OF_A_PART", 5)
    found = collector.collected(place.host(), (collector.Part("gpus", lambda host: True, endless),))
    assert len(found) == 6
    assert "more series than a host should have" in capsys.readouterr().err


def test_a_gateway_tells_what_it_has(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    place = CollectedHost(tmp_path)
    code, text = collect(place)
    assert (code, parts_of(text)) == (0, {})
    assert "tfserving_collector_duration_seconds " in text
    place.write("etc/apt/keyrings/tfserving.gpg", "x")
    place.write("etc/haproxy/tfserving/tls.pem", "")
    assert parts_of(collect(place)[1]) == {"certificates": "1", "apt_keys": "0"}


def test_a_plan_that_cannot_be_read_fails_the_parts_that_need_it(place, capsys):
    place.write("etc/tfserving/plan.json", "{")
    _code, text = collect(place)
    assert set(parts_of(text).values()) == {"0"}
    assert "is no JSON" in capsys.readouterr().err


def test_a_missing_folder_is_said_in_one_sentence(place, capsys):
    (place.root / "var/lib/prometheus/node-exporter/other.prom").unlink()
    (place.root / "var/lib/prometheus/node-exporter").rmdir()
    assert collector.main(str(place.root), place.run, lambda: NOW) == 1
    assert capsys.readouterr().err.endswith("tfserving.prom: cannot be written (No such file or directory)\n")


def test_another_boot_forgets_what_was_counted(place):
    collect(place)
    before = place.state_path.read_text()
    place.write("proc/sys/kernel/random/boot_id", "another\n")
    collect(place)
    assert '"boot":"another"' in place.state_path.read_text()
    assert '"boot":"another"' not in before


def test_no_link_is_followed_on_the_way_to_the_file(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("kept")
    for name in (".a.prom.new", "a.prom"):
        os.symlink(elsewhere, folder / name)
    written.replace(str(folder / "a.prom"), b"x", 0o644)
    assert (elsewhere.read_text(), (folder / "a.prom").read_text()) == ("kept", "x")
    assert not (folder / "a.prom").is_symlink()
    os.symlink(folder, tmp_path / "link")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        written.replace(str(tmp_path / "link/a.prom"), b"x", 0o644)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\\nb"), ("\x1b[31m", r"\\x1b[31m"), ("ä\u202e", r"ä\\u202e"),
        ("x" * 500, "x" * 159 + "…"),
    ],
)  # fmt: skip
def test_labels_are_escaped_and_bounded(value, label):
    assert exposition.label(value) == label


def test_a_series_twice_and_no_number_are_left_out():
    text = exposition.text([sample("gpus", 1), sample("gpus", 2), sample("gpus_planned", float("nan"))])
    assert text.splitlines()[2:] == ["tfserving_gpus 1"]
    assert [exposition.number(value) for value in (True, 0.25, 1e9, 1.5e-7)] == ["1", "0.25", "1000000000", "1.5e-07"]


def test_only_agreed_names_and_labels_exist():
    with pytest.raises(KeyError):
        sample("nothing", 1)
    with pytest.raises(KeyError, match="has the labels gpu"):
        sample("gpu_persistence", 1)


def test_programs_are_bounded():
    assert programs.run(["cat"], b"x") == (0, "x")
    assert programs.run(["false"]) == (1, "")
    with pytest.raises(programs.ProgramError, match=r"sleep did not answer within 0\.1 s"):
        programs.run(["sleep", str(LONG_S)], seconds=0.1)
    with pytest.raises(programs.ProgramError, match="yes printed more than 1 KiB"):
        programs.run(["yes"], most=1024)
    with pytest.raises(programs.ProgramError, match="no-such-program could not be started"):
        programs.run(["no-such-program"])

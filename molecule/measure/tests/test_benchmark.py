# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark of a serving host, in short form: what it leaves, what it refuses, and that the host stays as it was.

The machine is busy with other tests, so a run may call itself invalid; that it says so is right, and its counts have to
add up all the same.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from browser import opened

FILES = "find /etc /run/systemd/system -xdev -type f -exec sha256sum {} + | sort"
SHORT = {"instance": "main", "rate": 20, "duration": "5s", "warmup": "1s", "connections": 2}


@pytest.fixture
def benchmark(site, tmp_path):
    """Run benchmark.yml; keyword arguments are its variables. Return the run, and the document that it left, if any."""

    def run(*options, **variables):
        output = tmp_path / variables.pop("output", "found")
        done = site(*options, playbook="playbooks/benchmark.yml", output=str(output), **{**SHORT, **variables})
        document = output.with_suffix(".json")
        return SimpleNamespace(
            run=done, output=output, document=json.loads(document.read_text()) if document.exists() else None
        )

    return run


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_rate_is_measured_and_the_host_is_as_it_was(benchmark, host, main, protocol, tmp_path):
    files, pid = host.check_output(FILES), main.pid
    found = benchmark(protocol=protocol)
    assert found.run.status == 0, found.run.output
    (stage,) = found.document["stages"]
    result = stage["result"]
    assert result["protocol"] == protocol
    assert result["ok"] > 50, stage
    assert result["offered"] == result["ok"] + sum(result["errors"].values())
    assert not result["errors"], stage
    # What the client counts, warm-up included, the server has counted, beside the calls for its status.
    counted = result["counters"]["after"]["OK"] - result["counters"]["before"].get("OK", 0)
    assert result["all"]["ok"] <= counted <= result["all"]["ok"] + 20
    assert stage["percentiles"]["p99"] is None
    assert stage["percentiles"]["withheld"]["p99"].startswith("p99 is withheld: it takes 459 requests")
    assert found.document["conditions"]["model_versions"] == {"digits": [1]}
    assert len(found.document["host_samples"]) >= 5
    assert "p99 is withheld" in found.output.with_suffix(".md").read_text()
    assert opened(found.output.with_suffix(".html"), tmp_path / "page.png") == []
    assert host.check_output(FILES) == files
    assert main.pid == pid
    assert host.run("ls /run/tfserving-benchmark-*").rc != 0


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_rates_beyond_python_are_sent_by_h2load(benchmark, protocol):
    found = benchmark(engine="h2load", protocol=protocol, arrivals="constant", rate=50)
    assert found.run.status == 0, found.run.output
    (stage,) = found.document["stages"]
    result = stage["result"]
    assert result["engine"] == "h2load"
    assert result["ok"] > 100, stage
    assert "of which none was looked at" in " ".join(stage["remarks"]) or result["problems"]


def test_requests_come_from_a_file_of_samples(benchmark, known, tmp_path):
    rows = known("digits")["request"]["instances"]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"instances": rows[:count], "weight": count}) + "\n" for count in (1, 2)))
    found = benchmark(samples=str(samples))
    assert found.run.status == 0, found.run.output
    assert found.document["requests"]["source"] == "samples"
    assert found.document["requests"]["items"] == {"mean": 1.67, "max": 2}


@pytest.fixture
def load_hosts(tmp_path):
    """Two load hosts, as options of ansible-playbook: both this machine, each with its own generator."""
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    # REST, which needs no packages.
    hosts = {
        name: {**local, "load_generator_dir": str(tmp_path / name), "load_generator_grpc": "none"}
        for name in ("load-1", "load-2")
    }
    inventory = tmp_path / "load.json"
    inventory.write_text(json.dumps({"all": {"children": {"tfserving_load": {"hosts": hosts}}}}))
    return ("-i", str(inventory))


def test_two_load_hosts_share_a_stage(benchmark, load_hosts):
    found = benchmark(*load_hosts, protocol="rest", rate=40)
    assert found.run.status == 0, found.run.output
    assert found.document["load_hosts"] == ["load-1", "load-2"]
    assert "from 2 load hosts" in found.output.with_suffix(".md").read_text()
    (stage,) = found.document["stages"]
    result = stage["result"]
    # Each sends its half, in a process of its own, and the server has counted both.
    assert (stage["rate"], result["rate"], len(result["cpu"])) == (40, 40, 2)
    assert result["ok"] > 120, stage
    assert result["offered"] == result["ok"] + sum(result["errors"].values())
    assert sum(second["ok"] for second in result["seconds"]) == result["all"]["ok"]
    counted = result["counters"]["after"]["OK"] - result["counters"]["before"].get("OK", 0)
    assert result["all"]["ok"] <= counted <= result["all"]["ok"] + 20


def test_a_load_host_that_fails_its_part_ends_the_stage(benchmark, load_hosts, tmp_path):
    with ThreadPoolExecutor() as pool:
        running = pool.submit(benchmark, *load_hosts, protocol="rest", duration="600s")
        # Not the shell around it, which tells how it ended.
        generator = f"^[^ ]*python[^ ]* -B -m tfserving_load run {tmp_path}/load-2/"
        ends = f"for _ in $(seq 1200); do pkill -KILL -f '{generator}' && exit 0; sleep 0.1; done; exit 1"
        assert subprocess.run(["sh", "-c", ends], check=False).returncode == 0
        found = running.result()
    assert found.run.status != 0
    assert "load host load-2: " in found.run.message
    assert not found.document["stages"] if found.document else True
    # The other one does not go on.
    assert subprocess.run(["pgrep", "-f", f"[t]fserving_load run {tmp_path}/"], check=False).returncode == 1


def test_an_earlier_run_that_bears_no_comparison_is_refused_before_any_load_is_sent(benchmark, tmp_path):
    first = benchmark()
    before = tmp_path / "before.json"
    before.write_text(first.output.with_suffix(".json").read_text())
    second = benchmark(against=str(before), rate=None, duration=None, output="second")
    assert second.run.status != 0
    assert second.document is None
    # On a busy machine the first run may be invalid, which is told first.
    valid = first.document["verdict"] == "valid"
    sentence = (
        "has 0 s to compare with, and a comparison takes 120 s" if valid else "holds no valid stage to compare with"
    )
    assert f"against: {sentence}" in second.run.message


def test_a_search_without_time_for_its_end_says_so(benchmark):
    found = benchmark(rate=None, duration=None, budget="30s")
    assert found.run.status == 0, found.run.output
    assert found.document["kind"] == "knee"
    assert found.document["knee"] is None
    assert any(remark.startswith("no rate was found: ") for remark in found.document["remarks"])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"instance": "mian"}, "instance: mian is no instance of the fleet; did you mean 'main'?"),
        ({"rate": "fast"}, "rate: is the string 'fast'; give a number from 0.1 to 1e+06"),
        ({"durration": "5s"}, "durration: is no variable of a benchmark; did you mean 'duration'?"),
        ({"model": "ranker"}, "model: ranker is not served by the instance main; it has: digits"),
        ({"tfserving_address": "nowhere.invalid"}, "tfserving_address: load host this-controller cannot resolve"),
    ],
)
def test_a_mistake_is_refused_before_any_load_is_sent(benchmark, variables, sentence):
    found = benchmark(**variables)
    assert found.run.status != 0
    assert sentence in found.run.message
    assert found.document is None


def test_samples_that_do_not_fit_the_model_are_refused_with_their_line(benchmark, known, tmp_path):
    rows = known("digits")["request"]["instances"]
    samples = tmp_path / "samples.jsonl"
    samples.write_text(json.dumps({"instances": rows}) + "\n" + json.dumps({"instances": [[1.0, 2.0]]}) + "\n")
    found = benchmark(samples=str(samples))
    assert found.run.status != 0
    assert "samples.jsonl line 2" in found.run.message
    assert found.document is None


def test_an_instance_that_does_not_serve_is_refused(benchmark, host, main):
    host.check_output("systemctl stop %s", main.unit)
    try:
        found = benchmark()
    finally:
        host.check_output("systemctl start %s", main.unit)
    assert "instance: main on molecule-measure does not serve" in found.run.message
    assert found.document is None


def test_two_benchmarks_of_one_host_do_not_mix(benchmark):
    with ThreadPoolExecutor() as pool:
        # One of them takes the lock of the host, and the other one is told of it.
        both = list(pool.map(lambda name: benchmark(output=name), ("one", "two")))
    statuses = sorted(found.run.status for found in both)
    assert statuses[0] == 0, both[0].run.output + both[1].run.output
    refused = next(found.run for found in both if found.run.status)
    assert "is changing this host (benchmark.yml, since" in refused.message


def test_a_load_host_that_the_rules_keep_out_is_told_which_variable_lets_it_in(site, benchmark):
    assert site(tfserving_allow_from=["localhost"]).status == 0
    try:
        found = benchmark()
    finally:
        assert site().status == 0
    assert found.run.status != 0
    assert re.search(
        r"tfserving_allow_from: \S+ does not answer load host this-controller on its rest port; add [0-9.]+ and run"
        " site.yml",
        found.run.message,
    )
    assert found.document is None


def test_a_killed_run_leaves_no_load(benchmark):
    found = benchmark(duration="600s", kill_at="fixed (")
    assert found.run.status != 0
    # The generator ends itself once nobody asks for its progress any more, which nobody else tells it.
    running = "pgrep -f '[t]fserving_load run .*/tfserving-load/run-' > /dev/null"
    gone = f"for _ in $(seq 900); do {running} || exit 0; sleep 0.1; done; exit 1"
    assert subprocess.run(["sh", "-c", gone], check=False).returncode == 0

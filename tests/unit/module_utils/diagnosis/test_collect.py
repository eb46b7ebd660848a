# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The evidence of a recorded host, with known answers, and of hosts that do not tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import evidence_cases
import pytest
import recorded_host
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import collect, files, page
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep

SHOWN = """Id=tfserving@ranker.service
LoadState=loaded
ActiveState=active
SubState=running
NRestarts=2
MainPID=4100
Result=success
InvocationID=5f5f
UnitFileState=enabled
NeedDaemonReload=no
CPUQuotaPerSecUSec=2s
MemoryMax=3338665984
MemoryHigh=infinity
AllowedCPUs=1-3 5
"""
ANSWERS = {
    "systemctl": SHOWN,
    "ss": "LISTEN 3 128 0.0.0.0:8501 0.0.0.0:*\n",
    "systemd-detect-virt": "kvm\n",
    "journalctl": "Linux version 6.12\nsomething dull\n\x1b[31mNVRM: Xid (PCI:0000:3b:00): 79\n",
}
SERVER = {"models": {"ranker": {"states": [], "error": ""}},
          "probe": {"grpc_health": "SERVING", "grpc_ms": 1.0, "rest_ms": 2.0, "status_calls": 1}}  # fmt: skip


def answer(arguments):
    return ANSWERS.get(arguments[0])


@pytest.fixture
def host(tmp_path):
    for write in (recorded_host.standing, recorded_host.model):
        write(tmp_path)
    advance(tmp_path, 1)
    return tmp_path


def advance(root, step):
    recorded_host.server(root, step)
    recorded_host.counters(root, step)
    recorded_host.neighbour(root, step)


def means(root, **changes):
    usual = {
        "tree": Tree(str(root)), "ask": answer, "nvidia": lambda _arguments: None, "server": lambda _instance: SERVER,
        "page": lambda _port, _path, _models: {"c": [[{}, 1]]}, "gates": lambda: {"ranker": "closed by a person"},
        "pause": lambda _seconds: advance(root, 2), "wall": iter((100.0, 110.0)).__next__,
    }  # fmt: skip
    return collect.Means(**{**usual, **changes})


def collected(root, plan=True, options=None, **changes):
    record = recorded_host.plan(root) if plan else str(root / "none.json")
    wanted = collect.Wanted("a1", record, 10.0, **(options or {}))
    return collect.collect(wanted, means(root, **changes))


def grown(evidence, *path):
    first, last = evidence["samples"]
    for part in path:
        first, last = first[part], last[part]
    return last - first


def test_two_samples_tell_what_happened_in_between(host):
    found = collected(host)
    assert [each["at"] for each in found["samples"]] == [100.0, 110.0]
    tick = 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert grown(found, "stat", "1", "user_us") == 110 * tick
    assert grown(found, "stat", "1", "steal_us") == 30 * tick
    assert grown(found, "pressure", "io", "some_us") == 1000
    assert grown(found, "net", "TcpExt.ListenOverflows") == 1
    assert grown(found, "net", "Tcp.RetransSegs") == 9
    assert grown(found, "softnet", "3", "squeezed") == 2
    assert grown(found, "interrupts", "0") == 11
    assert found["samples"][0]["net"]["sockstat.tcp_tw"] == 12
    assert found["samples"][1]["conntrack"] == {"count": 120, "max": 262144}
    assert "nr_free_pages" not in found["samples"][0]["vmstat"]


def test_a_process_is_its_threads_together(host):
    found = collected(host)
    process = found["samples"][1]["instances"]["ranker"]["process"]
    assert (process["run_us"], process["wait_us"], process["slices"]) == (12_000_000, 600_000, 300)
    assert (process["voluntary"], process["nonvoluntary"]) == (60, 6)
    assert (process["rss_mb"], process["majflt"], process["read_bytes"], process["threads"]) == (1500.0, 8, 8192, 3)
    tasks = found["samples"][0]["instances"]["ranker"]["tasks"]
    assert [task["wchan"] for task in tasks] == ["", "futex_wait_queue", "ep_poll"]
    assert [task["state"] for task in tasks] == ["R", "S", "S"]
    assert tasks[0]["cpu_us"] == 2_000_000


def test_a_server_that_restarts_meanwhile_is_read_as_the_process_that_it_is_then(host):
    shown = iter([SHOWN, SHOWN.replace("MainPID=4100", "MainPID=5200").replace("NRestarts=2", "NRestarts=3")])

    def restart(_seconds):
        advance(host, 2)
        shutil.move(host / "proc/4100", host / "proc/5200")

    def ask(arguments):
        return next(shown) if arguments[0] == "systemctl" else answer(arguments)

    found = collected(host, ask=ask, pause=restart)
    pids = [each["instances"]["ranker"]["process"]["pid"] for each in found["samples"]]
    assert (pids, found["instances"]["ranker"]["unit"]["restarts"]) == ([4100, 5200], 3)


def test_a_cgroup_tells_of_quotas_memory_and_nodes(host):
    found = collected(host)
    group = found["samples"][1]["instances"]["ranker"]["cgroup"]
    assert group["cpu_stat"] == {
        "usage_us": 4_000_000, "nr_periods": 200, "nr_throttled": 10, "throttled_us": 140_000,
    }  # fmt: skip
    assert group["pressure"]["cpu"]["some_us"] == 1000
    assert group["memory"]["events"]["high"] == 3
    assert (group["memory"]["high_mb"], group["memory"]["max_mb"]) == (2048.0, None)
    ranker = found["instances"]["ranker"]
    assert (ranker["oom_kills"], ranker["numa_pages"]) == (1, {"0": 1000, "1": 2})
    assert (ranker["effective_cpus"], ranker["effective_mems"]) == ("1-7", "0-1")


def test_the_first_version_of_cgroups_tells_as_well(host):
    group = "sys/fs/cgroup/cpu,cpuacct/tfserving.slice/ranker"
    recorded_host.write(host, "proc/mounts",
                        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
                        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n")  # fmt: skip
    recorded_host.write(host, f"{group}/cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 5000000\n")
    memory = "sys/fs/cgroup/memory/tfserving.slice/ranker"
    recorded_host.write(host, f"{memory}/memory.usage_in_bytes", "1048576\n")
    recorded_host.write(host, f"{memory}/memory.limit_in_bytes", "9223372036854771712\n")
    recorded_host.write(host, f"{memory}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    lines = "4:memory:/tfserving.slice/ranker\n2:cpu,cpuacct:/tfserving.slice/ranker\n"

    def first_version(arguments):
        recorded_host.write(host, "proc/4100/cgroup", lines)
        return answer(arguments)

    found = collected(host, ask=first_version, pause=lambda _seconds: None)
    group = found["samples"][0]["instances"]["ranker"]["cgroup"]
    assert found["cgroup"] == 1
    assert group["cpu_stat"] == {"nr_periods": 9, "nr_throttled": 4, "throttled_us": 5000}
    assert group["memory"] == {"current_mb": 1.0, "max_mb": None, "events": {"oom_kill": 2, "max": None}}
    assert group["pressure"] is None


def test_an_instance_tells_of_its_unit_its_process_and_its_files(host):
    ranker = collected(host)["instances"]["ranker"]
    unit = ranker["unit"]
    assert (unit["state"], unit["restarts"], unit["cpu_quota"], unit["allowed_cpus"]) == ("active", 2, "2s", "1-3,5")
    assert (unit["memory_max_mb"], unit["memory_high_mb"], unit["mark_is_planned"]) == (3184, None, True)
    assert ranker["cmdline"] == ["/usr/bin/tensorflow_model_server", "--port=8500", "--enable_batching=true"]
    assert ranker["limits"] == {"nofile": [1048576] * 2, "nproc": [500000] * 2, "memlock": [None, None]}
    assert (ranker["allocator"], ranker["cpus_of_threads"]) == ("jemalloc", ["1-3"])
    assert ranker["model_files"]["ranker"] == {
        "base_exists": True,
        "versions": {
            "7": {"size_mb": 1.0, "warmup": True, "batching_params": False, "complete": True},
            "8": {"size_mb": 0.0, "warmup": False, "batching_params": False, "complete": False},
        },
    }
    assert ranker["files"]["batching.config"] == "max_batch_size { value: 32 }\n\\x1b[2J"
    assert ranker["gate"] == {"open": False, "words": "closed by a person"}
    written = os.stat(host / "etc/tfserving/ranker/models.config").st_mtime
    assert ranker["files_changed"]["models.config"] == written


def with_cache(root, path):
    """Keep a plan whose ranker has a cache of compiled GPU code, and return what is told of that."""
    plan = json.loads(Path(recorded_host.plan(root)).read_text())
    plan["instances"][0]["environment"] = {"CUDA_CACHE_PATH": path}
    (root / "cached.json").write_text(json.dumps(plan))
    wanted = collect.Wanted("a1", str(root / "cached.json"), 10.0)
    return collect.collect(wanted, means(root))["instances"]["ranker"]["cuda_cache"]


def test_a_cache_of_gpu_code_tells_its_size(host):
    recorded_host.write(host, "var/cache/cuda/3/a", "x" * (1 << 20))
    assert with_cache(host, "/var/cache/cuda") == {"path": "/var/cache/cuda", "exists": True, "size_mb": 1.0}
    assert with_cache(host, "/var/cache/none")["exists"] is False


@pytest.mark.parametrize(("most", "seconds"), [(3, 2.0), (5000, 0.0)], ids=["too many entries", "too slow"])
def test_a_cache_is_looked_at_for_a_while_only(host, monkeypatch, most, seconds):
    monkeypatch.setattr(files, "MOST_ENTRIES", most)
    monkeypatch.setattr(files, "LONGEST_S", seconds)
    for number in range(4):
        # Folders without files count as well.
        (host / f"var/cache/cuda/{number}").mkdir(parents=True)
    assert with_cache(host, "/var/cache/cuda")["size_mb"] is None


def test_a_plan_that_is_replaced_meanwhile_is_told(host):
    path = Path(recorded_host.plan(host))

    def promote(_seconds):
        advance(host, 2)
        path.write_text(path.read_text().replace('"feed"', '"feee"'))

    assert collected(host)["collector"]["plan_changed"] is False
    wanted = collect.Wanted("a1", str(path), 10.0)
    assert collect.collect(wanted, means(host, pause=promote))["collector"]["plan_changed"] is True


def test_callers_that_wait_show_in_the_sockets(host):
    found = collected(host)
    sockets = found["samples"][0]["instances"]["ranker"]["sockets"]
    assert sockets == {"established": 1, "unread_bytes": 512, "queued": 3}
    assert found["facts"]["listeners"] == [
        {"port": 8501, "address": "0.0.0.0", "pid": None, "queue": 3, "backlog": 128}
    ]


def test_the_host_tells_what_it_is_and_how_it_is_set(host):
    found = collected(host)
    facts = found["facts"]
    assert (found["kernel"], found["cgroup"], found["virtual"]) == ("6.12.48+deb13-amd64", 2, "kvm")
    assert facts["cpufreq"] == {"governor": {"0": "powersave"}, "mhz": {"0": 2400.0}, "max_mhz": {}, "base_mhz": {}}
    assert (facts["thp"], facts["memory"]) == ("madvise", {"total_mb": 2, "available_mb": 1})
    assert facts["nodes"] == {"0": {"cpus": "0-1", "total_mb": 4, "free_mb": 1}}
    # A bridge is no device whose link matters.
    assert [(each["address"], each["width"], each["max_width"]) for each in facts["pci"]] == [("0000:3b:00.0", 8, 16)]
    assert found["kernel_log"] == ["Linux version 6.12", "\\x1b[31mNVRM: Xid (PCI:0000:3b:00): 79"]


def test_a_neighbour_on_serving_cpus_is_named(host):
    assert collected(host)["processes"] == [
        {"pid": 812, "name": "backup", "cpus_allowed": "0-7", "cpu_us": 3_000_000, "unit": "backup.service"}
    ]


def test_a_neighbour_on_other_cpus_is_not(host):
    recorded_host.write(host, "proc/812/status", "Name:\tbackup\nCpus_allowed_list:\t0,6\n")
    assert collected(host)["processes"] == []


def test_no_value_of_the_environment_is_told(host):
    assert "hush" not in json.dumps(collected(host))


def test_the_evidence_has_the_shape_that_the_catalogue_is_built_on(host):
    found, expected = collected(host), evidence_cases.healthy(with_gpus=False)
    keep.checked("evidence", found)
    assert set(found) == set(expected)
    assert set(found["samples"][1]) == set(expected["samples"][1])
    assert set(found["facts"]) == set(expected["facts"])
    for path in ("", "unit", "model_files/ranker/versions/7"):
        mine, other = (evidence_cases.at(each, f"instances/ranker/{path}".rstrip("/")) for each in (found, expected))
        assert set(mine) == set(other), path
    for path in ("", "process", "sockets", "tasks/0", "cgroup", "cgroup/memory", "cgroup/cpu_stat"):
        place = f"samples/1/instances/ranker/{path}".rstrip("/")
        assert set(evidence_cases.at(found, place)) == set(evidence_cases.at(expected, place)), path


def test_a_host_that_tells_nothing_fails_nothing(tmp_path):
    def broken(*_arguments):
        raise ValueError("nonsense\x1b[2J")

    found = collected(
        tmp_path, ask=broken, nvidia=broken, server=broken, page=broken, gates=broken, pause=lambda _seconds: None
    )
    keep.checked("evidence", found)
    whys = {row["source"]: row["why"] for row in found["unread"]}
    assert whys["systemctl show"] == "ValueError: nonsense\\x1b[2J"
    assert {"server ranker", "gates", "nvidia-smi", "kernel log", "ss"} <= set(whys)
    assert found["gpu_error"] == "ValueError: nonsense\\x1b[2J"
    assert found["samples"][0]["instances"]["ranker"]["process"] is None


def test_a_server_that_hangs_costs_the_others_nothing(host, monkeypatch):
    monkeypatch.setattr(collect, "ANSWERS_S", 0.2)

    end = threading.Event()
    found = collected(host, server=lambda _instance: end.wait())
    end.set()
    assert {"source": "server ranker", "why": "it has not answered within 0.2 s"} in found["unread"]
    assert found["instances"]["ranker"]["model_files"]["ranker"]["base_exists"]


def test_a_program_that_hangs_is_told(host):
    def ask(arguments):
        if arguments[0] == "journalctl":
            raise subprocess.TimeoutExpired(arguments, 4.0)
        return answer(arguments)

    found = collected(host, ask=ask)
    assert {"source": "kernel log", "why": "it has not answered within 4 s"} in found["unread"]


def test_a_page_that_is_not_there_is_an_error_and_none_that_is_not_planned(host):
    def broken(_port, _path, _models):
        raise ValueError("no")

    sample = collected(host, page=broken)["samples"][0]["instances"]["ranker"]
    assert (sample["metrics"], sample["metrics_error"]) == (None, True)


def test_a_page_of_very_many_series_is_kept_in_part_in_both_samples_and_says_so(host, monkeypatch):
    monkeypatch.setattr(page, "MOST_SERIES", 2)
    count = ":tensorflow:serving:request_count"
    found = collected(host, page=lambda *_asked: {"c": [[{}, 1]], "d": [[{}, 1]], count: [[{}, 1]]})
    assert [list(each["instances"]["ranker"]["metrics"]) for each in found["samples"]] == [["d", count]] * 2
    assert {"source": "metrics ranker", "why": "it has over 2 series, c are left out"} in found["unread"]


def test_a_host_without_a_plan_is_read_all_the_same(host):
    found = collected(host, plan=False)
    keep.checked("evidence", found)
    assert (found["plan"], found["instances"]) == (None, {})
    assert found["samples"][0]["stat"]


def test_a_damaged_plan_is_told(host):
    (host / "none.json").write_text("{")
    found = collected(host, plan=False)
    assert "is not complete JSON" in found["unread"][0]["why"]


def test_a_gateway_tells_of_its_servers(host):
    socket = host / "run/haproxy/admin.sock"
    socket.parent.mkdir(parents=True)
    socket.touch()
    table = (
        "# pxname,svname,status,type,scur,stot,qtime,ctime,rtime,ttime,wretr,\n"
        "grpc,FRONTEND,OPEN,0,60,90,,,,,,\nranker,a1.ranker,UP,2,4,400,0,1,13,15,2,\nranker,BACKEND,UP,1,4,400,0,1,13,15,2,\n\n"
    )
    answers = {"show info": "Idle_pct: 82\nName: HAProxy\nSslFrontendKeyRate: 3\n", "show stat": table}
    found = collected(host, plan=False, haproxy=lambda _path, command, _seconds: answers[command],
                      options={"socket": "/run/haproxy/admin.sock"})  # fmt: skip
    last = found["gateway"]["stats"][1]
    assert last["info"] == {"Idle_pct": 82, "SslFrontendKeyRate": 3}
    server = last["backends"]["ranker"]["servers"]["a1.ranker"]
    assert (server["ttime"], server["rtime"], server["wretr"], server["scur"]) == (15, 13, 2, 4)
    assert last["frontends"]["grpc"]["stot"] == 90


@pytest.mark.parametrize("plan", [False, True])
def test_a_gateway_is_read_whatever_instances_are_named(host, plan):
    recorded_host.write(host, "run/haproxy/admin.sock", "")
    answers = {"show info": "Idle_pct: 82\n", "show stat": "# pxname,svname,status,type,\n\n"}
    options = {"socket": "/run/haproxy/admin.sock", "instances": ("elsewhere",)}
    evidence = collected(host, plan, options, haproxy=lambda _path, command, _seconds: answers[command])
    assert (list(evidence["instances"]), len(evidence["gateway"]["stats"])) == ([], 2)


def test_instances_that_are_not_asked_for_are_no_strangers(host):
    path = recorded_host.plan(host)
    plan = json.loads(Path(path).read_text())
    Path(path).write_text(
        json.dumps({**plan, "instances": [*plan["instances"], {**plan["instances"][0], "name": "backup"}]})
    )
    shown = SHOWN + "\n" + SHOWN.replace("tfserving@ranker", "tfserving@backup").replace("4100", "812")
    options = {"instances": ("ranker",)}
    wanted = collect.Wanted("a1", path, 10.0, **options)
    ask = {**ANSWERS, "systemctl": shown}
    found = collect.collect(wanted, means(host, ask=lambda arguments: ask.get(arguments[0])))
    assert (list(found["instances"]), found["collector"]["servers"]) == (["ranker"], [812, 4100])
    assert found["processes"] == []


def test_a_gateway_whose_haproxy_does_not_answer_says_so(host):
    recorded_host.write(host, "run/haproxy/admin.sock", "")

    def broken(_path, _command, _seconds):
        raise RuntimeError("HAProxy does not answer")

    found = collected(host, plan=False, haproxy=broken)
    assert found["gateway"] == {"stats": [], "error": "RuntimeError: HAProxy does not answer"}


OPTIONS = {"host": "a1", "record": "/r", "seconds": 10, "instances": None, "sections": None, "resolve": None,
           "certificates": None, "haproxy_socket": "/s"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seconds": 0}, "seconds: 0 is out of bounds; write 1 to 60"),
        ({"sections": ["gpu"]}, "sections: gpu is none; choose of host, instances, server, files, logs, gpus, gateway"),
    ],
)
def test_options_that_cannot_be_are_refused(change, problem):
    with pytest.raises(WishError) as caught:
        collect.check({**OPTIONS, **change})
    assert str(caught.value) == problem


def test_an_instance_that_is_not_planned_is_refused(host):
    with pytest.raises(WishError, match="rankr is not in the plan of this host"):
        collected(host, options={"instances": ("rankr",)})


def test_only_the_sections_that_are_wanted_are_read(host):
    found = collected(host, options={"sections": ("instances",)})
    assert (found["facts"], found["kernel_log"], found["processes"]) == ({}, [], [])
    assert found["samples"][0]["instances"]["ranker"]["process"]["pid"] == 4100
    assert found["instances"]["ranker"]["probe"]["status_calls"] == 0

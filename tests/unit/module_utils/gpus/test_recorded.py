# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPUs as they really answer: recorded machines and their ills, through the questions, the facts and the verdicts."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import findings as gpu_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import cells as nvidia_cells
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import query as nvidia_query
from hypothesis import given
from hypothesis import strategies as st
from recorded_gpus import COLUMNS, MACHINES, asking, facts, findings, gpu, host, recorded, simulated

HEALTHY = "H100, idle"
DRIVER = "590.48.01"
RESET, LOST, UNKNOWN_ERROR = "[GPU requires reset]", "[GPU is lost]", "[Unknown Error]"
# What of a GPU that waits for a reset still answers.
STAYS = ("index", "uuid", "address", "name", "mig", "memory.total", "compute_cap", "compute_mode")


def pair(**cells):
    """Two H100s, the second with other cells."""
    return host(DRIVER, gpu(HEALTHY), gpu(HEALTHY, 1, **cells))


def all_cells(cell, stays=STAYS):
    return {field: cell for field in COLUMNS if field not in stays}


def verdict(machine, expected=None):
    return gpu_findings.verdict(findings(machine, expected))


def worst(machine):
    """The findings that decide the verdict."""
    found = findings(machine)
    return [finding for finding in found if finding.status == gpu_findings.verdict(found)]


@pytest.mark.parametrize("name", MACHINES)
class TestRecordings:
    def test_each_is_judged_as_nvidias_documents_say(self, name):
        found = findings(recorded(name))
        assert gpu_findings.verdict(found) == MACHINES[name]["verdict"]
        for check, words in MACHINES[name].get("told", {}).items():
            assert [words in finding.detail for finding in found if finding.check == check] == [True]

    def test_each_is_known_with_its_facts_and_no_problem(self, name):
        cells = dict(zip(COLUMNS, MACHINES[name]["gpu"]))
        found = facts(recorded(name))
        (one,) = found["gpus"]
        assert found["problems"] == []
        assert (one["index"], one["name"], one["why"]) == (0, cells["name"], None)
        assert one["memory_mb"] == int(cells["memory.total"])
        assert [part["profile"] for part in one["mig"]["instances"]] == MACHINES[name].get("mig", [])
        assert found["driver_version"] == MACHINES[name]["driver"]

    def test_each_is_asked_only_what_its_driver_knows(self, name):
        machine = recorded(name)
        branch = int(machine["library"].split(".")[0])
        answer = nvidia_query.gpus(asking(machine), ("compute_cap", "mig.mode.current", "gpu_recovery_action"))
        (one,) = answer.gpus
        known = {field for field, first in simulated().BRANCHES["fields"].items() if first <= branch}
        unasked = {field for field, why in one["absent"].items() if why == nvidia_cells.NOT_ASKED}
        assert unasked == {"compute_cap", "mig.mode.current", "gpu_recovery_action"} - known


class TestBranches:
    def test_before_550_there_is_no_cuda_version_and_no_problem(self):
        found = facts(recorded("A100 cut in four, branch 535"))
        assert (found["cuda_version"], found["problems"]) == (None, [])
        assert len(found["gpus"][0]["mig"]["instances"]) == 4

    def test_from_610_on_the_cuda_version_has_another_name(self):
        assert facts(recorded("GeForce RTX 2080 SUPER, branch 610, idle"))["cuda_version"] == "13.3"

    def test_kepler_keeps_all_facts_but_its_capability(self):
        found = facts(host("470.256.02", gpu("Tesla P100", name="Tesla K80")))
        (one,) = found["gpus"]
        assert (one["memory_mb"], one["compute_capability"], one["driver_version"]) == (16384, None, "470.256.02")
        assert (found["problems"], verdict(host("470.256.02", gpu("Tesla P100", name="Tesla K80")))) == ([], "pass")

    def test_the_reasons_of_clocks_are_asked_by_the_name_that_the_branch_knows(self):
        for driver in ("525.147.05", "535.86.05"):
            held_back = host(driver, gpu(HEALTHY, **{"clocks_event_reasons.active": "0x0000000000000040"}))
            assert [finding.check for finding in worst(held_back)] == ["throttle"]

    def test_a_field_that_nobody_can_leave_out_ends_the_question(self):
        def ask(arguments):
            raise nvidia_query.NvidiaSmiError('nvidia-smi failed with code 2: Field "uuid" is not a valid field', 2)

        with pytest.raises(nvidia_query.NvidiaSmiError, match="uuid"):
            nvidia_query.gpus(ask, ("compute_cap",))

    def test_a_program_that_refuses_what_was_not_asked_is_not_asked_for_ever(self):
        def ask(arguments):
            raise nvidia_query.NvidiaSmiError('Field "something" is not a valid field to query.', 2)

        with pytest.raises(nvidia_query.NvidiaSmiError, match="something"):
            nvidia_query.gpus(ask, ("compute_cap",))


class TestSixAnswers:
    """In place of a value: six answers with six meanings."""

    @pytest.mark.parametrize(
        ("cell", "status"),
        [
            ("[N/A]", "info"),
            ("N/A", "info"),
            ("[Not Supported]", "info"),
            ("[Requested functionality has been deprecated]", "info"),
            ("[Insufficient Permissions]", "unknown"),
            (UNKNOWN_ERROR, "unknown"),
            ("[Some words of a driver to come]", "unknown"),
            ("ERR!", "unknown"),
            (RESET, "critical"),
            (LOST, "critical"),
        ],
    )
    def test_clocks_that_are_not_told_weigh_as_the_reason_says(self, cell, status):
        assert verdict(pair(**{"clocks_event_reasons.active": cell})) == status

    @pytest.mark.parametrize("cell", [UNKNOWN_ERROR, "[N/A]", "[Insufficient Permissions]", "ERR!"])
    def test_ecc_that_is_on_and_tells_no_counter_is_unknown(self, cell):
        (finding,) = worst(pair(**{"ecc.errors.uncorrected.volatile.total": cell}))
        assert (finding.check, finding.status, finding.gpu) == ("ecc", "unknown", "0000:81:00.0")

    @pytest.mark.parametrize("cell", [UNKNOWN_ERROR, "[Insufficient Permissions]"])
    def test_an_ecc_mode_that_could_not_be_asked_is_unknown(self, cell):
        assert worst(pair(**{"ecc.mode.current": cell}))[0].detail == "the driver could not tell whether ECC is on"

    def test_errors_count_even_where_the_mode_is_not_told(self):
        cells = {"ecc.mode.current": "[N/A]", "ecc.errors.uncorrected.volatile.total": "2"}
        assert worst(pair(**cells))[0].detail.startswith("2 memory errors")

    def test_a_pending_mode_that_is_not_told_announces_nothing(self):
        assert verdict(pair(**{"ecc.mode.pending": "[N/A]"})) == "pass"

    @pytest.mark.parametrize("cell", [UNKNOWN_ERROR, "[Insufficient Permissions]"])
    def test_rows_that_could_not_be_asked_are_unknown(self, cell):
        assert worst(pair(**{"remapped_rows.failure": cell}))[0].check == "retired_memory"

    def test_a_gpu_of_today_without_rows_to_tell_is_unknown_unless_it_is_cut_or_virtual(self):
        rows = {field: "[N/A]" for field in COLUMNS if field.startswith("remapped_rows.")}
        assert verdict(pair(**rows)) == "unknown"
        assert verdict(pair(**rows, **{"mig.mode.current": "Enabled", "mig": ["1g.10gb"]})) == "info"
        assert verdict(pair(**rows, name="NVIDIA H100-20C")) == "info"

    @pytest.mark.parametrize(("cell", "status"), [("[N/A]", "info"), (UNKNOWN_ERROR, "unknown")])
    def test_counters_of_ecc_that_a_guest_does_not_have_are_its_hosts(self, cell, status):
        counters = [field for field in COLUMNS if field.startswith("ecc.errors.")]
        assert verdict(pair(name="NVIDIA A40-48C", **dict.fromkeys(counters, cell))) == status

    @pytest.mark.parametrize("cell", ["Yes", "1", "3"])
    def test_rows_that_wait_for_a_reset_are_a_warning_in_each_form(self, cell):
        assert [finding.action for finding in worst(pair(**{"remapped_rows.pending": cell}))] == ["reset_gpu"]

    @pytest.mark.parametrize(("single", "double", "status"), [("0", "2", "info"), ("31", "32", "critical")])
    def test_pages_are_set_aside_up_to_nvidias_limit(self, single, double, status):
        pages = {"retired_pages.single_bit_ecc.count": single, "retired_pages.double_bit.count": double}
        assert verdict(host("535.261.03", gpu("Tesla P100", **pages))) == status

    @pytest.mark.parametrize("name", ["GRID V100D-8C", "NVIDIA A10-24Q", "NVIDIA A16-1-2B"])
    def test_a_guest_without_clocks_and_power_is_fit(self, name):
        cells = ("temperature.gpu", "power.draw", "power.limit", "clocks_event_reasons.active", "ecc.mode.current")
        absent = dict.fromkeys([*cells, "ecc.mode.pending", "ecc.errors.uncorrected.volatile.total"], "[N/A]")
        assert verdict(pair(name=name, **absent)) == "info"


class TestLostAndWaiting:
    def test_a_gpu_that_is_lost_is_told_with_its_remedy_and_never_offered(self):
        machine = pair(**all_cells(LOST, ("index", "uuid", "address", "name", "mig", "compute_cap")))
        (finding,) = worst(machine)
        assert (finding.check, finding.gpu, finding.action) == ("state", "0000:81:00.0", "restart_host")
        assert finding.detail == "GPU 1 (NVIDIA H100 80GB HBM3) is lost"
        found = facts(machine)
        assert [(each["index"], each["why"]) for each in found["gpus"]] == [(0, None), (None, "is lost")]
        assert found["problems"][0].startswith("GPU 0000:81:00.0 is lost; ")

    @pytest.mark.parametrize(
        "stays", [STAYS, (*STAYS, "ecc.mode.current", "mig.mode.current", "remapped_rows.pending")]
    )
    def test_a_gpu_that_waits_for_a_reset_is_told_with_its_remedy_and_never_offered(self, stays):
        machine = pair(**all_cells(RESET, stays))
        (finding,) = worst(machine)
        assert (finding.check, finding.gpu, finding.action) == ("state", "0000:81:00.0", "reset_gpu")
        assert "waits for a reset" in finding.detail
        found = facts(machine)
        assert [(each["index"], each["why"]) for each in found["gpus"]] == [(0, None), (None, "waits for a reset")]

    @pytest.mark.parametrize(
        ("words", "status", "action", "offered"),
        [
            ("Reset", "critical", "reset_gpu", False),
            ("Reboot", "critical", "restart_host", False),
            ("Drain and Reset", "critical", "reset_gpu", False),
            ("OS Reboot", "critical", "restart_host", False),
            ("Something to come", "critical", "contact_support", False),
            ("Drain P2P", "warning", "drain_p2p", True),
            ("Recover IMEX Domain", "warning", "recover_imex", True),
            ("None", "pass", "", True),
        ],
    )
    def test_what_the_driver_recommends_decides_although_all_else_is_well(self, words, status, action, offered):
        eight = [gpu(HEALTHY, index) for index in range(8)]
        eight[1]["gpu_recovery_action"] = words
        machine = host("580.95.05", *eight)
        found = findings(machine, 8)
        assert gpu_findings.verdict(found) == status
        (finding,) = [each for each in found if each.check == "state" and each.gpu == "0000:81:00.0"]
        assert finding.action == action
        assert (facts(machine)["gpus"][1]["index"] is not None) == offered

    def test_bad_memory_of_a_waiting_gpu_is_told_as_well(self):
        cells = all_cells(RESET, (*STAYS, "ecc.mode.current", "ecc.errors.uncorrected.volatile.total"))
        machine = pair(**{**cells, "ecc.errors.uncorrected.volatile.total": "3"})
        assert [finding.check for finding in worst(machine)] == ["state", "ecc"]


class TestBadInput:
    def test_remarks_around_the_rows_are_told_and_the_rows_count(self):
        warning = "WARNING: infoROM is corrupted at gpu 0000:B3:00.0"
        machine = {**pair(), "says": {"before": [warning], "code": 14}}
        assert [finding.detail for finding in worst(machine)] == [f"nvidia-smi says: {warning}"]
        assert verdict(machine) == "warning"
        assert facts(machine)["problems"] == [f"nvidia-smi says: {warning}"]
        assert [each["index"] for each in facts(machine)["gpus"]] == [0, 1]

    def test_remarks_on_standard_error_are_told_too(self):
        machine = {**pair(), "says": {"errors": ["Warning: persistence mode is disabled on device 00000000:81:00.0."]}}
        assert (verdict(machine), len(facts(machine)["problems"])) == ("info", 1)

    def test_a_damaged_info_rom_is_told_after_a_warning_for_each_of_sixteen_gpus(self):
        hints = [f"Warning: persistence mode is disabled on device 00000000:{place:02X}:00.0." for place in range(16)]
        machine = {**pair(), "says": {"errors": [*hints, "WARNING: infoROM is corrupted at gpu 0000:81:00.0"]}}
        assert [finding.detail for finding in worst(machine)] == [
            "nvidia-smi says: WARNING: infoROM is corrupted at gpu 0000:81:00.0"
        ]

    def test_a_damaged_info_rom_is_told_where_only_the_exit_code_tells(self):
        machine = {**pair(), "says": {"code": 14}}
        assert [finding.status for finding in worst(machine)] == ["warning"]
        assert [each["index"] for each in facts(machine)["gpus"]] == [0, 1]

    def test_remarks_without_end_are_told_within_bounds(self):
        machine = {**pair(), "says": {"after": ["some remark " * 100] * 5000}}
        assert sum(len(problem) for problem in facts(machine)["problems"]) < 10_000
        assert sum(len(finding.detail) for finding in findings(machine)) < 10_000

    def test_a_remark_with_as_many_commas_as_a_row_is_none(self):
        machine = {**pair(), "says": {"after": [", ".join(["WARNING"] * 40)]}}
        assert len(facts(machine)["problems"]) == 1

    def test_a_row_that_was_cut_short_is_told(self):
        machine = pair(cut_short=60)
        found = findings(machine)
        assert ("nvidia_smi", "unknown") in [(finding.check, finding.status) for finding in found]
        assert [each["index"] for each in facts(machine)["gpus"]] == [0, None]

    def test_a_decimal_comma_shifts_nothing(self):
        machine = pair(**{"power.draw": "76,32", "power.limit": "700,00"})
        assert verdict(machine) == "pass"
        answer = nvidia_query.gpus(asking(machine), ("power.draw", "power.limit"))
        assert nvidia_cells.number(answer.gpus[1]["power.draw"]) == 76.32

    @pytest.mark.parametrize("cell", [UNKNOWN_ERROR, "[N/A]", LOST])
    @pytest.mark.parametrize("field", ["pci.bus_id", "name", "uuid", "index"])
    def test_identity_in_brackets_ends_in_no_traceback(self, field, cell):
        machine = pair(**{field: cell})
        assert verdict(machine) in ("pass", "unknown", "critical")
        assert len(facts(machine)["gpus"]) == 2

    def test_a_gpu_without_an_address_is_used_for_nothing_and_not_missed(self):
        machine = pair(**{"pci.bus_id": UNKNOWN_ERROR})
        (finding,) = worst(machine)
        assert finding.detail == "GPU 1 (NVIDIA H100 80GB HBM3) does not report its PCI address"
        assert facts(machine)["gpus"][1]["index"] is None

    @pytest.mark.parametrize("cell", [UNKNOWN_ERROR, "[Insufficient Permissions]", "ERR!"])
    @pytest.mark.parametrize(
        ("field", "why"),
        [
            ("uuid", "does not report a UUID of its own"),
            ("index", "does not report its number"),
            ("mig.mode.current", "does not report whether it is divided into MIG instances"),
        ],
    )
    def test_a_gpu_that_keeps_back_what_names_it_is_unknown_and_never_offered(self, field, why, cell):
        machine = pair(**{field: cell})
        assert ("state", "unknown", "0000:81:00.0") in [finding[:2] + finding[3:4] for finding in worst(machine)]
        found = facts(machine)
        assert [(each["index"], each["why"]) for each in found["gpus"]] == [(0, None), (None, why)]
        assert found["problems"][0].startswith(f"GPU 0000:81:00.0 {why}; ")

    def test_two_gpus_with_one_uuid_can_be_told_apart_by_nobody(self):
        machine = pair(uuid=gpu(HEALTHY)["uuid"])
        assert [finding.gpu for finding in worst(machine) if finding.check == "state"] == [
            "0000:00:09.0",
            "0000:81:00.0",
        ]
        assert verdict(machine) == "unknown"
        assert [each["why"] for each in facts(machine)["gpus"]] == ["does not report a UUID of its own"] * 2

    def test_units_that_nobody_asked_for_change_no_figure(self):
        machine = pair(**{"memory.total": "81559 MiB", "power.draw": "69.85 W"})
        assert (verdict(machine), facts(machine)["gpus"][1]["memory_mb"]) == ("pass", 81559)

    def test_a_gpu_without_a_name_is_fit(self):
        assert verdict(pair(name=UNKNOWN_ERROR)) == "pass"
        assert facts(pair(name=UNKNOWN_ERROR))["gpus"][1]["name"] is None

    @pytest.mark.parametrize("cell", ["0x" + "f" * 150, "-0x1", "9" * 300, "Enabled\x1b[2J", "x" * 100_000])
    @pytest.mark.parametrize(
        "field", ["clocks_event_reasons.active", "ecc.mode.pending", "gpu_recovery_action", "name"]
    )
    def test_cells_of_any_length_make_sentences_of_some(self, field, cell):
        found = findings(pair(**{field: cell}))
        assert all(finding.detail.isprintable() and len(finding.detail) < 500 for finding in found)

    def test_sixteen_gpus_are_sixteen(self):
        machine = host(DRIVER, *(gpu(HEALTHY, index) for index in range(16)))
        assert (verdict(machine, 16), len({each["index"] for each in facts(machine)["gpus"]})) == ("pass", 16)

    @pytest.mark.parametrize("code", [15, 255])
    @pytest.mark.parametrize("silent_row", [True, False])
    def test_a_failure_over_one_gpu_keeps_those_that_it_tells_of(self, code, silent_row):
        """Their rows come, that of the failed one has no value or does not come, and nvidia-smi ends in an error."""
        words = "Unable to determine the device handle for GPU0000:81:00.0: Unknown Error"
        nothing = {**all_cells(UNKNOWN_ERROR, ("address", "mig")), "uuid": UNKNOWN_ERROR, "pci.bus_id": UNKNOWN_ERROR}
        whole, cut = gpu(HEALTHY), gpu("H100 cut in four, idle", 2)
        machine = host(DRIVER, whole, gpu(HEALTHY, 1, **nothing), cut)
        machine["says"] = {"before": [words], "code": code}
        if not silent_row:
            machine["gpus"][1]["cut_short"] = 0
        found = findings(machine)
        refusal = next(finding for finding in found if finding.check == "nvidia_smi")
        assert (refusal.status, refusal.gpu, refusal.action) == ("critical", "0000:81:00.0", "restart_host")
        assert refusal.detail == f"nvidia-smi --query-gpu failed with code {code}: {words}"
        assert {finding.gpu for finding in found if finding.check == "ecc"} == {"0000:00:09.0", "0000:82:00.0"}
        known = facts(machine)
        assert [(each["index"], each["why"]) for each in known["gpus"]] == [
            (0, None),
            (None, "does not answer"),
            (2, None),
        ]
        assert len(known["gpus"][2]["mig"]["instances"]) == 4
        assert known["problems"][0] == f"nvidia-smi --query-gpu failed with code {code}: {words}"

    def test_more_gpus_than_any_driver_takes_are_no_answer(self):
        rows = "".join(f"{each % 1000}, GPU-{each}, 00000000:81:00.0, x\n" for each in range(50_000))
        with pytest.raises(nvidia_query.NvidiaSmiError, match="reports 50000 GPUs"):
            nvidia_query.gpus(lambda _arguments: rows, ())

    @pytest.mark.parametrize("rows", [0, 15])
    def test_a_failure_over_one_gpu_leaves_no_number_to_any(self, rows):
        words = "Unable to determine the device handle for GPU 0000:81:00.0: GPU is lost.  Reboot the system.\n"
        before = {"answer": "".join(f"0, GPU-{index}, 00000000:80:00.0, 9.0\n" for index in range(rows)) + words}
        machine = {**pair(), "says": {**before, "code": 15}}
        (finding,) = worst(machine)
        assert (finding.check, finding.gpu, finding.action) == ("nvidia_smi", "0000:81:00.0", "restart_host")
        assert finding.detail.startswith("nvidia-smi --query-gpu failed with code 15: Unable to determine")
        found = facts(machine)["gpus"]
        assert [each["index"] for each in found] == [None, None]
        assert [each["why"] for each in found] == [
            "was not asked, since another one does not answer",
            "does not answer",
        ]

    @pytest.mark.parametrize(
        ("code", "words", "status", "action"),
        [
            (2, "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", "unknown", ""),
            (4, "Insufficient Permissions", "unknown", ""),
            (6, "No devices were found", "critical", "restart_host"),
            (8, "external power cables are not attached", "critical", "check_mechanicals"),
            (9, "NVIDIA-SMI has failed because it couldn't communicate", "critical", "restart_host"),
            (127, "error while loading shared libraries: libc.so.6", "unknown", ""),
            (18, "Failed to initialize NVML: Driver/library version mismatch", "critical", "restart_host"),
            (
                255,
                "Unable to determine the device handle for GPU0000:17:00.0: Unknown Error",
                "critical",
                "restart_host",
            ),
        ],
    )
    def test_its_exit_code_decides_what_is_to_be_done(self, code, words, status, action):
        (finding,) = worst({**pair(), "says": {"answer": f"{words}\n", "code": code}})
        assert (finding.status, finding.action) == (status, action)
        assert finding.detail == f"nvidia-smi --query-gpu failed with code {code}: {words}"

    def test_rows_that_end_in_an_error_are_unknown(self):
        machine = pair()
        ask = asking(machine)

        def failing(arguments):
            if "remapped" in arguments[0]:
                raise nvidia_query.NvidiaSmiError("nvidia-smi --query-remapped-rows did not answer within 30 seconds")
            return ask(arguments)

        from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import memory_health as gpu_memory_health
        from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import reading as gpu_reading

        answer = gpu_reading.answers(failing)
        assert "did not answer" in answer["remarks"][0]
        assert gpu_memory_health.findings(answer["gpus"][0])[-1].status == "unknown"


CELLS = st.one_of(
    st.sampled_from(
        ["[N/A]", UNKNOWN_ERROR, RESET, LOST, "ERR!", "", "Enabled", "Disabled", "0", "1", "No", "Yes", "None"]
    ),
    st.text(st.characters(blacklist_characters="\n\r"), max_size=12),
    st.from_regex(r"0x[0-9a-f]{1,16}", fullmatch=True),
)


@given(
    st.sampled_from(
        ["390.157", "418.43", "450.80.02", "470.256.02", "510.47.03", "535.261.03", "580.95.05", "610.57.04"]
    ),
    st.lists(st.dictionaries(st.sampled_from([*COLUMNS[2:], "uuid", "pci.bus_id"]), CELLS), max_size=3),
)
def test_whatever_a_branch_answers_is_read_and_judged(driver, changes):
    machine = host(driver, *(gpu(HEALTHY, index, **cells) for index, cells in enumerate(changes)))
    found = findings(machine)
    assert {finding.status for finding in found} <= set(gpu_findings.ORDER)
    assert all(len(finding.detail) < 600 for finding in found)
    assert len(facts(machine)["gpus"]) == len(changes)

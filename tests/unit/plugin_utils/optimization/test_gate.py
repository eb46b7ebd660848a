# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate on candidates of which it is known whether they are good, and its refusals one by one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import answered_models as models
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import gate, verdicts
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.answers import Answer
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.gate import Evidence
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.measures import Task
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.verdicts import Row
from simulated_queue import AT_LENGTH

# Of each model, kind and fault. The sample is of the same seeds.
SEEDS = range(100 if AT_LENGTH else 1)


def failing(rows: Sequence[Row]) -> dict[str, str]:
    return {row.check: row.sentence for row in rows if not row.passed}


def answered(values: Sequence[Sequence[float]], dtype: str = "DT_FLOAT", **others: Tensor) -> list[Answer]:
    """Return one answer a request, of one row each."""
    return [
        Answer(number, outputs={"y": Tensor(dtype, (1, len(row)), list(row)), **others})
        for number, row in enumerate(values)
    ]


def seen(before: Sequence[Answer], after: Sequence[Answer], groups: Sequence[str] | None = None) -> Evidence:
    return Evidence(before, after, groups or [str(number) for number in range(len(before))], recorded=True)


def drawn(requests: int, columns: int, seed: int = 1) -> list[list[float]]:
    draw = random.Random(seed)
    return [[draw.gauss(0, 1) for _ in range(columns)] for _ in range(requests)]


CLASSES = Task("classification", "y", 0.02)


# --- both directions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.MODELS)
def test_candidates_that_only_round_as_their_treatment_may_pass(name: str) -> None:
    for seed in SEEDS:
        held = models.logits(name, seed)
        before = models.answers(name, held)
        for kind, shares in models.GOOD.items():
            for share in shares:
                after = models.answers(name, held, models.noisy(share)(models.MODELS[name]), seed)
                rows = gate.judge(kind, models.evidence(before, after), models.task(name))
                assert failing(rows) == {}, (kind, share, seed)


@pytest.mark.parametrize("kind", models.GOOD)
@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name in models.MODELS for fault in models.spoilt(name)])
def test_spoilt_candidates_are_refused_whatever_they_were_made_by(name: str, fault: str, kind: str) -> None:
    model = models.MODELS[name]
    for seed in SEEDS:
        held = models.logits(name, seed)
        after = models.answers(name, held, models.spoilt(name)[fault](model), seed)
        rows = gate.judge(kind, models.evidence(models.answers(name, held), after), models.task(name))
        assert not gate.passed(rows), (name, fault, kind, seed)


@pytest.mark.parametrize("kind", models.GOOD)
@pytest.mark.parametrize("name", ["list", "clicks", "kelvin", "vector"])
def test_an_answer_that_depends_on_the_batch_is_refused(name: str, kind: str) -> None:
    held, model = models.logits(name, 1), models.MODELS[name]
    after = models.answers(name, held, beside=0.002 * model.spread)
    found = failing(gate.judge(kind, models.evidence(models.answers(name, held), after), models.task(name)))
    assert list(found) == ["batches of y"]
    assert "in batches of 32 rows answers move" in found["batches of y"]


def test_an_original_that_depends_on_the_batch_allows_its_candidate_as_much() -> None:
    held = models.logits("list", 1)
    before = models.answers("list", held, beside=0.001)
    rows = gate.judge(
        "tflite_int8", models.evidence(before, models.answers("list", held, beside=0.001)), models.task("list")
    )
    assert failing(rows) == {}


# --- the form of answers -------------------------------------------------------------------------------------


def _without_last(found: list[Answer]) -> list[Answer]:
    return found[:-1]


def _refusing(found: list[Answer]) -> list[Answer]:
    return [*found[:-1], Answer(found[-1].request, error="no such op")]


def _retyped(found: list[Answer]) -> list[Answer]:
    return models.retyped(found)


def _renamed(found: list[Answer]) -> list[Answer]:
    return [replace(each, outputs={"z": each.outputs["y"]}) for each in found]


def _reshaped(found: list[Answer]) -> list[Answer]:
    return [replace(each, outputs={"y": each.outputs["y"]._replace(shape=(3, 1))}) for each in found]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_without_last, "the candidate has not answered request 599"),
        (_refusing, "the candidate alone refuses request 599: no such op"),
        (_retyped, "y is DT_DOUBLE [1, 3], and was DT_FLOAT [1, 3] (request 0)"),
        (_renamed, "only one of both has the output y and z"),
        (_reshaped, "y is DT_FLOAT [3, 1], and was DT_FLOAT [1, 3] (request 0)"),
    ],
)
def test_answers_of_another_form_are_refused(change: models.Change, sentence: str) -> None:
    before = answered(drawn(600, 3))
    assert list(failing(gate.judge("freeze", seen(before, change(before)), CLASSES)).values()) == [sentence]


def test_an_original_that_lacks_an_answer_proves_nothing() -> None:
    whole = answered(drawn(600, 3))
    rows = gate.judge("freeze", seen(whole[:-1], whole[:-1], [str(number) for number in range(600)]), None)
    assert [row.verdict for row in rows] == [verdicts.UNPROVEN]
    assert rows[0].sentence == "the original has answered 599 of the 600 requests that both are asked"


def test_two_models_that_refuse_everything_are_not_alike() -> None:
    refusing = [Answer(number, error="no") for number in range(600)]
    rows = gate.judge("freeze", seen(refusing, refusing), None)
    assert [(row.passed, row.sentence) for row in rows] == [(False, "both refuse every request")]


def with_label(found: Sequence[Answer], dtype: str, label: object) -> list[Answer]:
    return [replace(each, outputs={**each.outputs, "label": Tensor(dtype, (1,), [label])}) for each in found]


@pytest.mark.parametrize(("dtype", "labels"), [("DT_INT64", (1, 2)), ("DT_STRING", (b"a", b"b"))])
def test_values_that_are_no_fractions_must_be_equal(dtype: str, labels: tuple[object, object]) -> None:
    before = with_label(answered(drawn(600, 3)), dtype, labels[0])
    after = [*before[:-1], *with_label(before[-1:], dtype, labels[1])]
    words = {"equality of label": "label: 1 of 600 values differ, and none may"}
    assert failing(gate.judge("freeze", seen(before, after), CLASSES)) == words
    assert failing(gate.judge("tflite_int8", seen(before, after), Task("regression", "y", 0.02))) == words


def test_classes_by_name_may_differ_as_often_as_classes_by_score() -> None:
    before = with_label(answered(drawn(1000, 3)), "DT_INT64", 1)
    some = [*with_label(before[:3], "DT_INT64", 2), *before[3:]]
    assert failing(gate.judge("tflite_int8", seen(before, some), CLASSES)) == {}
    many = [*with_label(before[:30], "DT_INT64", 2), *before[30:]]
    assert list(failing(gate.judge("tflite_int8", seen(before, many), CLASSES))) == ["equality of label"]


def test_what_is_not_a_number_in_the_original_may_be_none_in_the_candidate_and_nothing_else() -> None:
    values = drawn(600, 3)
    values[5][1] = float("nan")
    before = answered(values)
    assert failing(gate.judge("freeze", seen(before, before), None)) == {}
    values[5][1] = 0.0
    found = failing(gate.judge("freeze", seen(before, answered(values)), None))
    assert found == {"finite values of y": "y: 1 values are NaN or infinite in one of both answers alone"}


# --- evidence ------------------------------------------------------------------------------------------------


def test_a_treatment_that_rounds_takes_five_hundred_requests() -> None:
    before = answered(drawn(499, 3))
    found = failing(gate.judge("xla", seen(before, before), CLASSES))
    words = "499 independent requests where the original decides on one class; at least 500 needed"
    assert found == {"evidence of top class": words}


def test_one_request_that_was_recorded_a_thousand_times_is_one() -> None:
    before = answered(drawn(1, 3) * 1000)
    found = failing(gate.judge("xla", seen(before, before, ["same"] * 1000), CLASSES))
    assert found["evidence of top class"].startswith("1 independent request where")


def test_a_request_of_many_rows_speaks_for_one() -> None:
    draw = random.Random(1)
    before = [
        Answer(number, outputs={"y": Tensor("DT_FLOAT", (100, 3), [draw.gauss(0, 1) for _ in range(300)])})
        for number in range(20)
    ]
    found = failing(gate.judge("xla", seen(before, before), CLASSES))
    assert found["evidence of top class"].startswith("20 independent requests where")


def test_made_up_requests_prove_nothing_about_a_task() -> None:
    before = answered(drawn(600, 3))
    evidence = replace(seen(before, before), recorded=False)
    assert failing(gate.judge("freeze", evidence, None)) == {}
    words = "a treatment that rounds is judged by its task on recorded requests"
    assert failing(gate.judge("xla", evidence, CLASSES)) == {"task": words}


def test_rows_that_the_original_does_not_decide_are_no_evidence() -> None:
    before = answered([*drawn(300, 3), *([[0.5, 0.5, 0.1]] * 300)])
    found = failing(gate.judge("xla", seen(before, before), CLASSES))
    assert found["evidence of top class"].startswith("300 independent requests where")


def test_a_rare_class_is_not_lost_for_the_sake_of_the_others() -> None:
    rare = [[0.0, 4.0 + number / 100] for number in range(12)]
    before = answered([[4.0 + number / 1000, 0.0] for number in range(1500)] + rare)
    after = answered([[4.0 + number / 1000, 0.0] for number in range(1500)] + [row[::-1] for row in rare])
    found = failing(gate.judge("tflite_int8", seen(before, after), CLASSES))
    assert "class 1 is another class in" in found["each class"]


def test_a_loss_that_more_requests_might_clear_says_how_many() -> None:
    draw = random.Random(3)
    values = [[3.0 + draw.random(), 0.0, draw.random()] for _ in range(600)]
    other = [list(row) for row in values]
    for row in other[:6]:
        row[1] = row[0] + 0.1
    found = {row.check: row for row in gate.judge("tflite_int8", seen(answered(values), answered(other)), CLASSES)}
    assert found["top class"].verdict == verdicts.UNPROVEN
    assert found["top class"].sentence == (
        "another class is on top in 1.00% of what 600 independent requests show, and in 2.48% at most; 2.00% allowed:"
        " 1,061 requests like these would prove it"
    )


# --- labels --------------------------------------------------------------------------------------------------


def labelled(
    values: Sequence[Sequence[float]], other: Sequence[Sequence[float]], labels: Mapping[int, list[float]]
) -> Evidence:
    return replace(seen(answered(values), answered(other)), labels=labels)


def test_a_candidate_that_is_wrong_more_often_by_the_labels_is_refused() -> None:
    values = drawn(900, 3)
    labels = {number: [float(row.index(max(row)))] for number, row in enumerate(values)}
    assert failing(gate.judge("xla", labelled(values, values, labels), CLASSES)) == {}
    worse = [row[::-1] if number % 20 == 0 else row for number, row in enumerate(values)]
    found = failing(gate.judge("xla", labelled(values, worse, labels), CLASSES))
    assert found["accuracy by labels"].startswith("accuracy against the labels is 0.9")


def test_a_lone_score_is_judged_by_its_area_under_the_curve() -> None:
    draw = random.Random(5)
    values = [[draw.random()] for _ in range(1200)]
    labels = {number: [float(draw.random() < row[0])] for number, row in enumerate(values)}
    task = Task("classification", "y", 0.05)
    rows = gate.judge("xla", labelled(values, values, labels), task)
    assert failing(rows) == {}
    # Of scores and labels drawn this way the area is 5/6.
    assert rows[-1].sentence.startswith("AUC against the labels is 0.8")
    shuffled = draw.sample(values, len(values))
    assert "AUC by labels" in failing(gate.judge("xla", labelled(values, shuffled, labels), task))


def test_labels_that_are_all_alike_prove_nothing() -> None:
    values = [[number / 1200] for number in range(1200)]
    evidence = labelled(values, values, {number: [1.0] for number in range(1200)})
    found = failing(gate.judge("xla", evidence, Task("classification", "y", 0.05)))
    assert found == {"AUC by labels": "AUC cannot be told by these labels, which are all alike or fit no row"}


# --- tolerances ----------------------------------------------------------------------------------------------


def test_a_tolerance_that_a_person_gives_holds_for_every_value() -> None:
    values = drawn(600, 2)
    other = [[value + 0.02 for value in row] for row in values]
    evidence = replace(seen(answered(values), answered(other)), tolerances={"y": {"atol": 0.03}})
    task = Task("regression", "y", 0.02)
    assert failing(gate.judge("xla", evidence, task)) == {}
    evidence = replace(evidence, tolerances={"y": {"atol": 0.01}})
    words = "y: the value that departs most is 2 times as far away as it may be"
    assert failing(gate.judge("xla", evidence, task)) == {"tolerance of y": words}


def test_tiny_values_are_measured_by_their_own_spread() -> None:
    values = [[value * 1e-9 for value in row] for row in drawn(600, 2)]
    other = [[value * 1.01 for value in row] for row in values]
    assert "tolerance of y" in failing(gate.judge("freeze", seen(answered(values), answered(other)), None))


def test_a_small_shift_on_a_large_constant_is_seen() -> None:
    values = [[1000.0 + value for value in row] for row in drawn(600, 2)]
    other = [[value + 0.1 for value in row] for row in values]
    found = failing(gate.judge("tflite_int8", seen(answered(values), answered(other)), Task("regression", "y", 0.02)))
    assert "bias of y" in found

# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which candidates a server, its machine and its instance allow, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import candidates, wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.candidates import Place
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.strictness import OF_KIND

WISH = wishes.read({"instance": "ranker", "candidates": "all", "requests": "r.jsonl", "task": "ranking"})


def place(version: str = "2.17.1", **given: Any) -> Place:
    plan = {"server": {"version": version}, "models": ["ranker"], "flags": {}, "gpus": [], **given}
    return Place(plan, "ranker", ["avx512_bf16"])


def of_model(**changed: Any) -> list[dict[str, Any]]:
    kinds = [kind for kind in wishes.treatments() if kind != "tf_trt"]
    return [{"recipe": {"kind": kind}, "possible": True, "why": "", "lost_signatures": [], **changed} for kind in kinds]


def refused(where: Place, wish: wishes.Wish = WISH, **changed: Any) -> dict[str, str]:
    return candidates.chosen(wish, where, of_model(**changed))[1]


def test_every_treatment_has_its_strictness_and_its_reason() -> None:
    assert set(wishes.treatments()) == set(OF_KIND)
    assert all(each["reason"] and each["source"] for each in wishes.treatments().values())
    exact = {kind for kind, each in wishes.treatments().items() if each.get("exact")}
    assert exact == {kind for kind, strict in OF_KIND.items() if not strict.needs_requests}


def test_a_cpu_instance_may_have_all_but_what_is_for_gpus() -> None:
    found, others = candidates.chosen(WISH, place(), of_model())
    assert [each.kind for each in found] == ["freeze", "xla", "mixed_precision", "tflite_float", "tflite_int8"]
    assert found[-1].flags == {"prefer_tflite_model": True}
    assert others == {"tf_trt": "it is for GPUs, and this instance has none"}


@pytest.mark.parametrize(
    ("where", "kind", "sentence"),
    [
        (place("2.14.1"), "mixed_precision", "server 2.14.1 has no --mixed_precision"),
        (place("2.18.0"), "tf_trt", "server 2.18.0 cannot run it; the last that can is 2.17"),
        (
            replace(place(), cpu_flags=["avx2"]),
            "mixed_precision",
            "the CPU has none of avx512_bf16 and amx_bf16, without which it is slower",
        ),
        (replace(place(), cpu_flags=[]), "mixed_precision", "it is not known what the CPU can do"),
        (
            place(models=["ranker", "digits"]),
            "tflite_int8",
            "--prefer_tflite_model would also change digits, which this instance serves too",
        ),
        (
            place(gpus=["GPU-1"]),
            "tflite_float",
            "TFLite in the server runs on the CPU alone, and this instance has a GPU",
        ),
        (
            place(flags={"platform_config_file": "/etc/p"}),
            "tflite_int8",
            "the server ignores --prefer_tflite_model beside --platform_config_file",
        ),
        (
            replace(place(gpus=["GPU-1"]), host_gpus=["NVIDIA A10"]),
            "tf_trt",
            "it has to be built on the same GPU, NVIDIA A10, which the builder has not",
        ),
    ],
)
def test_what_a_place_does_not_allow_is_told_in_one_sentence(where: Place, kind: str, sentence: str) -> None:
    assert refused(where)[kind] == sentence


def test_a_flag_that_an_instance_has_already_changes_nothing_for_its_others() -> None:
    where = place(models=["ranker", "digits"], flags={"prefer_tflite_model": True})
    assert "tflite_int8" not in refused(where)


def test_the_builders_reason_is_the_last_word() -> None:
    assert refused(place(), possible=False, why="it has no variables")["freeze"] == "it has no variables"


def test_a_lost_signature_has_to_be_permitted() -> None:
    words = "it would lose b, of the model's signatures; permit that with -e lose_signatures=b"
    assert refused(place(), lost_signatures=["b"])["tflite_int8"] == words
    assert "tflite_int8" not in refused(place(), replace(WISH, lose_signatures=("b",)), lost_signatures=["b"])


def test_without_requests_nothing_but_freezing_is_left() -> None:
    wish = replace(WISH, requests=None)
    found, others = candidates.chosen(wish, place(), of_model())
    assert [each.kind for each in found] == ["freeze"]
    assert others["xla"] == "it takes recorded requests to tell what is lost"

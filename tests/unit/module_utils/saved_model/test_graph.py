# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""saved_model.pb and variables.index read without TensorFlow: beside TensorFlow itself, and out of hostile files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.store import listing
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import check as model_check
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import checkpoint, wire_format
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import graph as saved_model
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.check import Demands
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import Signature, Tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import REPOSITORY
from saved_models import FLOAT, FROZEN, INDEX, MODEL, SHARD, entry, graph, index, model_pb, number, part, tensor, varint
from saved_models import saved_model as saved_model_pb
from saved_models import signature as signature_pb

RUNTIME = os.environ.get("LAB_RUNTIME") or str(REPOSITORY / ".cache" / "tensorflow")
GRAPH = "saved_model.pb"
# name -> whether it needs the files of its checkpoint
WRITTEN = {"variables": True, "stateless": False, "words": False, "frozen": False, "variables-1": True}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Models that TensorFlow wrote, and known.json with what it reads in them."""
    out = tmp_path_factory.mktemp("written")
    script = REPOSITORY / "tests" / "unit" / "support" / "write_saved_models.py"
    subprocess.run([sys.executable, str(script), RUNTIME, str(out)], check=True, capture_output=True)
    return out


def check(place: Path) -> None:
    model_check.check(str(place), listing(str(place)).files, Demands())


def refusal(place: Path) -> str:
    with pytest.raises(RefusalError) as error:
        check(place)
    return str(error.value)


# --- beside TensorFlow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_it_reads_what_tensorflow_reads(written, name):
    known = json.loads((written / "known.json").read_text())[name]
    found = saved_model.read(str(written / name / GRAPH)).served()

    def plain(tensors: dict[str, Tensor]) -> dict[str, list]:
        return {key: [one.dtype, None if one.shape is None else list(one.shape)] for key, one in tensors.items()}

    assert sorted(found.tags) == known["tags"] == ["serve"]
    assert {key: [one.method, plain(one.inputs), plain(one.outputs)] for key, one in found.signatures.items()} == known[
        "signatures"
    ]
    assert found.assets == known["assets"]
    assert found.needs_variables == bool(known["variables"]) == WRITTEN[name]
    assert saved_model.read(str(written / name / GRAPH), graphs=False).served().signatures == found.signatures


@pytest.mark.parametrize("name", WRITTEN)
def test_what_tensorflow_wrote_is_whole(written, name):
    check(written / name)


@pytest.mark.parametrize("name", [name for name, needs in WRITTEN.items() if needs])
def test_a_shard_is_needed_to_its_last_byte(written, name, tmp_path):
    place = shutil.copytree(written / name, tmp_path / name)
    size = (place / SHARD).stat().st_size
    assert checkpoint.read(str(place / INDEX)).needed == {0: size}
    os.truncate(place / SHARD, size - 1)
    assert f"its {SHARD} has {size - 1} bytes and {INDEX} needs {size} of it" in refusal(place)


@pytest.mark.parametrize(("name", "needs"), WRITTEN.items())
def test_a_model_may_lose_its_variables_only_where_it_has_none(written, name, needs, tmp_path):
    place = shutil.copytree(written / name, tmp_path / name)
    shutil.rmtree(place / "variables", ignore_errors=True)
    if needs:
        assert "its graph has variables and variables/variables.index is missing" in refusal(place)
    else:
        check(place)


def test_an_asset_that_the_graph_names_must_be_there(written, tmp_path):
    place = shutil.copytree(written / "words", tmp_path / "words")
    (place / "assets" / "words.txt").unlink()
    assert refusal(place) == "it lacks assets/words.txt, which its graph names; give the whole SavedModel"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_model_is_damaged_wherever_it_is_cut(written, name, tmp_path):
    whole = (written / name / GRAPH).read_bytes()
    path = tmp_path / GRAPH
    for length in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(RefusalError, match=r"^its saved_model.pb is damaged \(.*\); export or copy the model"):
            saved_model.read(str(path))


# --- hostile files -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(written) -> dict[str, list[bytes]]:
    places = [written / name for name in WRITTEN]
    return {
        name: [(place / name).read_bytes() for place in places if (place / name).exists()] for name in (GRAPH, INDEX)
    }


HUGE = st.sampled_from([2**7, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]).map(varint)
MUTATION = st.tuples(st.sampled_from(["cut", "flip", "insert", "drop"]), st.floats(0, 1, exclude_max=True), HUGE)


def mutated(content: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    for kind, share, huge in mutations:
        at = int(share * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ 1 << huge[0] % 8]) + content[at + 1 :]
        else:
            content = content[:at] + (huge if kind == "insert" else b"") + content[at + (kind == "drop") :]
    return content


def said(read: Callable[[str], object], path: Path) -> str:
    """Return the refusal of a file, or nothing."""
    try:
        read(str(path))
    except RefusalError as error:
        return str(error)
    return ""


@settings(max_examples=400)
@given(st.sampled_from([GRAPH, INDEX]), st.integers(0, 100), st.lists(MUTATION, min_size=1, max_size=4))
def test_whatever_is_done_to_a_file_it_is_read_or_refused(samples, tmp_path_factory, name, which, mutations):
    content = samples[name][which % len(samples[name])]
    path = tmp_path_factory.mktemp("mutated") / Path(name).name
    path.write_bytes(mutated(content, mutations))
    read = saved_model.read if name == GRAPH else checkpoint.read
    words = said(read, path)
    assert not words or f"its {name} is damaged (" in words
    assert len(words) < 300


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    place = tmp_path_factory.mktemp("bytes")
    for name, read in ((GRAPH, saved_model.read), ("variables.index", checkpoint.read)):
        (place / name).write_bytes(content)
        words = said(read, place / name)
        assert not words or "is damaged (" in words


def signed_with(content: bytes) -> bytes:
    return saved_model_pb(graph({"s": content}))


HOSTILE = {
    "it holds no graph": number(1, 1),
    "it ends in the middle of a number at byte 0": b"\xff" * 20,
    "a part at byte 2 is longer than what holds it": b"\x12\x7f",
    "a part at byte 11 is longer than what holds it": b"\x12" + varint(2**63)[:9] + b"\x01",
    "impossible field at byte 1": b"\x13",
    "impossible field number at byte 1": b"\x02\x00",
    "it has more than 100 graphs": saved_model_pb(*[b""] * 101),
    "its signatures have more than 20000 parts": saved_model_pb(entry(5, "", b"") * 20_001),
    "it names more than 20000 assets": saved_model_pb(part(6, part(2, b"")) * 20_001),
    "a text at byte 14 has 70000 bytes": saved_model_pb(part(1, part(4, b"x" * 70_000))),
    "a text at byte 8 is not UTF-8": saved_model_pb(part(1, part(4, b"\xff"))),
    "a tensor of its signatures has more than 254 dimensions": signed_with(signature_pb({"x": (FLOAT, [1] * 255)}, {})),
}


@pytest.mark.parametrize(("words", "content"), HOSTILE.items(), ids=HOSTILE)
def test_impossible_content_is_refused(tmp_path, words, content):
    (tmp_path / GRAPH).write_bytes(content)
    assert refusal(tmp_path) == f"its saved_model.pb is damaged ({words}); export or copy the model again"


def test_a_tensor_without_a_shape_is_of_unknown_rank(tmp_path):
    """As upstream's saved_model_half_plus_three has them, which its tests serve in batches."""
    inputs = entry(1, "x", part(1, "x:0") + number(2, FLOAT)) + entry(1, "n", number(2, FLOAT) + part(3, b""))
    (tmp_path / GRAPH).write_bytes(saved_model_pb(graph({"serving_default": inputs}, saver=False)))
    found = saved_model.read(str(tmp_path / GRAPH)).served().signatures["serving_default"]
    assert found.inputs == {"x": Tensor("DT_FLOAT", None), "n": Tensor("DT_FLOAT", ())}


def test_a_file_of_nothing_but_small_parts_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(wire_format, "MOST_FIELDS", 1000)
    (tmp_path / GRAPH).write_bytes(saved_model_pb(graph({}), b"\x08\x00" * 1000))
    assert "it has more than 1000 parts" in refusal(tmp_path)


def test_a_file_beyond_what_the_server_reads_is_refused_unread(tmp_path):
    with open(tmp_path / GRAPH, "wb") as file:
        file.truncate(2**31)
    assert "it has more than 2 GiB, which no server reads" in refusal(tmp_path)


def test_weights_in_the_graph_cost_no_memory(tmp_path):
    """A frozen graph of a GiB, which takes no room on the disk: its constant is a hole."""
    size = 2**30
    constant = varint(5 << 3 | 2) + varint(size)
    node = part(1, "w") + part(2, "Const") + constant
    inner = varint(1 << 3 | 2) + varint(len(node) + size) + node
    body = varint(2 << 3 | 2) + varint(len(inner) + size) + inner
    rest = graph({"serving_default": signature_pb({"x": (FLOAT, [-1])}, {})}, saver=False)
    top = number(1, 1) + varint(2 << 3 | 2) + varint(len(rest) + len(body) + size) + rest + body
    with open(tmp_path / GRAPH, "wb") as file:
        file.write(top)
        file.truncate(len(top) + size)
    tracemalloc.start()
    found = saved_model.read(str(tmp_path / GRAPH)).served()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    served = Signature("tensorflow/serving/predict", {"x": Tensor("DT_FLOAT", (-1,))})
    assert found.signatures == {"serving_default": served}
    assert peak < 4 << 20


MANY = {
    "tags": part(1, b"".join(part(4, f"{number:07d}") for number in range(25_000))),
    "long tags": part(1, b"".join(part(4, f"{number:08d}" * 8000) for number in range(20))),
    "names": b"".join(entry(5, f"{number:08d}" * 8000, b"") for number in range(20)),
    "optional": entry(5, "s", b"".join(entry(4, f"{number:07d}", b"") for number in range(19_000))),
    "dimensions": entry(5, "s", b"".join(entry(1, f"{number}", tensor(FLOAT, [2**40] * 250)) for number in range(70))),
}


@pytest.mark.parametrize("content", MANY.values(), ids=MANY)
def test_what_is_kept_of_a_file_is_bounded_whatever_it_is(tmp_path, monkeypatch, content):
    monkeypatch.setattr(saved_model, "MOST_KEPT_BYTES", 2**20)
    (tmp_path / GRAPH).write_bytes(saved_model_pb(content))
    assert "(its names take more than 1 MiB)" in refusal(tmp_path)


def test_a_node_of_very_many_parts_costs_no_memory(tmp_path):
    node = part(1, part(1, "save/RestoreV2/tensor_names") + part(2, "Const") + b"\x2a\x00" * 30_000)
    (tmp_path / GRAPH).write_bytes(saved_model_pb(graph({}) + part(2, node)))
    tracemalloc.start()
    try:
        assert saved_model.read(str(tmp_path / GRAPH)).served().restored is False
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


INDEXES = {
    "it does not end as one does": b"x" * 100,
    "a block lies beyond its end": varint(2**62) * 4 + bytes(4) + index([])[-8:],
    "it counts 0 shards": index([], shards=0),
    "it counts 200000 shards": index([], shards=200_000),
    "it names a shard beyond their number": index([(1, 0, 5)]),
    "an entry has a place below 0": index([(0, -1, 5)]),
    "a block is of an unknown kind": index([(0, 0, 5)], kind=7),
}


@pytest.mark.parametrize(("words", "content"), INDEXES.items(), ids=INDEXES)
def test_an_impossible_index_is_refused(tmp_path, words, content):
    path = tmp_path / "variables.index"
    path.write_bytes(content)
    with pytest.raises(RefusalError) as error:
        checkpoint.read(str(path))
    assert str(error.value) == f"its {INDEX} is damaged ({words}); export or copy the model again"


@pytest.mark.parametrize("name", [name for name, needs in WRITTEN.items() if needs])
def test_no_byte_of_an_index_changes_unnoticed(written, name, tmp_path):
    """The sums that TensorFlow wrote are those that are compared."""
    whole = (written / name / INDEX).read_bytes()
    path = tmp_path / "variables.index"
    unnoticed = []
    for at in range(len(whole) - 48):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        if not said(checkpoint.read, path):
            unnoticed.append(at)
    # The block of filters, of which there are none: nobody reads it.
    assert len(unnoticed) == 8 + 5, unnoticed


def test_of_a_compressed_index_the_names_of_the_shards_are_all_that_counts(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / INDEX).write_bytes(index([(0, 0, 5)], kind=1))
    (tmp_path / SHARD).write_bytes(b"x")
    (tmp_path / GRAPH).write_bytes(model_pb())
    check(tmp_path)


def test_the_small_models_of_these_tests_are_whole(tmp_path):
    for at, files in enumerate((MODEL, FROZEN)):
        for name, content in files.items():
            (tmp_path / str(at) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(at) / name).write_bytes(content)
        check(tmp_path / str(at))

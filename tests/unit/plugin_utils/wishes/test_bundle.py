# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What an inventory needs of a bundle, and what its hosts are told instead."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.bundle import names as bundle_names
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import bundle
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.models import read as read_models
from bundle_cases import DIGEST, FINGERPRINT, artifact, artifacts, model, sha256, wish
from repository import REPOSITORY

IMAGE = f"docker.io/tensorflow/serving@sha256:{DIGEST}"
IMAGE_PATH = f"images/{DIGEST[:16]}"
# Of site.yml; the driver's packages are in no bundle.
ROLES = ("kernel_tuning", "cpu_partition", "jemalloc", "model_repository", "host_plan", "tfserving")
LAYOUT = f"{IMAGE_PATH}/{DIGEST}/serving"


def refused(sentence: str):
    return pytest.raises(WishError, match=f"^{re.escape(sentence)}$")


def image_wish(**changes):
    return wish(method="image", images={"2.19.1": IMAGE}, **changes)


def test_an_inventory_of_packages_needs_them_their_repository_and_its_models():
    found = bundle.needs({"a": wish(), "b": wish()})
    names = [["ca-certificates"], ["gnupg"], ["python3-apt"], ["libjemalloc2"], ["tensorflow-model-server=2.19.1*"]]
    assert found["packages"] == names
    assert [entry["key"] for entry in found["repositories"]] == [f"keys/{FINGERPRINT}.gpg"]
    assert [entry["url"] for entry in found["downloads"]] == ["https://models.example/digits.tgz"]
    assert found["images"] == []


@pytest.mark.parametrize(
    "source",
    [
        {"type": "mlflow", "uri": "https://mlflow.example.com", "model": "digits"},
        {"type": "s3", "uri": "s3://models/digits/"},
    ],
    ids=lambda source: source["type"],
)
def test_a_source_that_a_bundle_does_not_hold_is_refused_in_words(source):
    asked = wish(models=[{**model(), "source": source}])
    sentence = (
        f"tfserving_models[0].source.type: is {source['type']}, and a bundle holds no models of that type; "
        "fetch them where there is a network, and give their directory or archive with type path"
    )
    with refused(sentence):
        bundle.needs({"a": asked})
    with refused(sentence):
        bundle.overrides(asked, artifacts(artifact("packages/bookworm/x.deb")), "/srv/bundle", "bookworm")


def test_two_versions_of_the_server_are_resolved_apart():
    found = bundle.needs({"a": wish(), "b": wish(version="2.20.0")})
    assert [names for names in found["packages"] if "=" in names[0]] == [
        ["tensorflow-model-server=2.19.1*"],
        ["tensorflow-model-server=2.20.0*"],
    ]


def test_an_allocator_that_is_not_wished_needs_no_package():
    assert ["libjemalloc2"] not in bundle.needs({"a": wish(allocator="glibc")})["packages"]


def test_rules_of_nftables_need_its_package():
    assert ["nftables"] in bundle.needs({"a": wish(packet_filter=True)})["packages"]


def named_packages() -> set[str]:
    """Return the packages that the roles name outright where they install something."""
    files = [path for role in ROLES for path in (REPOSITORY / "roles" / role / "tasks").glob("*.yml")]
    texts = [
        match[0] for path in files for match in re.finditer(r"ansible\.builtin\.apt:\n(?: +.*\n)+", path.read_text())
    ]
    names = [name for text in texts for name in re.findall(r"^ +name: (.+)$", text, re.MULTILINE)]
    return {word for name in names if "{{" not in name for word in re.findall(r"[a-z0-9+.-]+", name)}


def test_every_package_that_a_role_names_is_in_the_bundle():
    wished = [wish(packet_filter=True), image_wish(packet_filter=True)]
    assert named_packages()
    assert named_packages() <= {name for each in wished for name in bundle.package_names(each)}


def test_further_packages_are_collected_too_and_each_once():
    found = bundle.needs({"a": wish(more_packages=["nvidia-kernel-dkms", "gnupg"])})
    assert found["packages"].count(["nvidia-kernel-dkms"]) == found["packages"].count(["gnupg"]) == 1


def test_an_image_needs_what_unpacks_it_and_no_repository():
    found = bundle.needs({"a": image_wish()})
    assert ["skopeo"] in found["packages"]
    assert ["umoci"] in found["packages"]
    assert found["repositories"] == []
    assert found["images"] == [{"reference": IMAGE, "path": IMAGE_PATH}]


def test_an_image_that_is_on_the_host_is_not_fetched():
    layout = {"2.19.1": f"oci:/srv/serving@sha256:{DIGEST}"}
    assert bundle.needs({"a": wish(method="image", images=layout)})["images"] == []


def test_an_archive_is_fetched_where_it_has_an_address():
    entry = {"uri": "https://builds.example/server.tgz", "sha256": DIGEST}
    remote = bundle.needs({"a": wish(method="archive", models=[], archives={"2.19.1": entry})})
    assert [entry["path"] for entry in remote["downloads"]] == [f"archives/{DIGEST}"]
    local = {"2.19.1": {**entry, "uri": "/srv/server.tgz"}}
    assert bundle.needs({"a": wish(method="archive", models=[], archives=local)})["downloads"] == []


def test_every_version_of_a_model_is_fetched_with_its_headers_and_digest():
    source = {"type": "http", "uri": "https://m.example/{version}.tgz", "sha256": {1: "1" * 64, 2: "2" * 64}}
    several = model(versions=[1, 2], source={**source, "headers": {"Authorization": "secret"}})
    del several["version"]
    found = bundle.needs({"a": wish(models=[several], headers={"X-Site": "lab"})})["downloads"]
    assert [(entry["url"], entry["sha256"][0]) for entry in found] == [
        ("https://m.example/1.tgz", "1"),
        ("https://m.example/2.tgz", "2"),
    ]
    assert found[0]["headers"] == {"Authorization": "secret", "X-Site": "lab"}


def test_models_of_one_name_and_two_addresses_do_not_meet():
    other = model(source={**model()["source"], "uri": "https://other.example/digits.tgz"})
    paths = [entry["path"] for entry in bundle.needs({"a": wish(), "b": wish(models=[other])})["downloads"]]
    assert len(set(paths)) == 2


def test_a_wrong_wish_is_refused_before_anything_is_fetched():
    with pytest.raises(WishError, match=r"tfserving_images: has no entry for 2\.19\.1"):
        bundle.needs({"a": wish(method="image")})
    with pytest.raises(WishError, match=r"tfserving_models\[0\]\.source: is missing"):
        bundle.needs({"a": wish(models=[{"name": "digits", "version": 1}])})


def test_a_host_is_told_the_files_in_place_of_the_addresses():
    found = bundle.overrides(wish(), artifacts(), "/srv/bundle", "bookworm")
    (moved,) = found["tfserving_models"]
    assert moved["source"]["type"] == "path"
    assert moved["source"]["uri"].startswith("/srv/bundle/models/digits-")
    assert moved["source"]["sha256"] == {"1": sha256(b"digits")}
    assert found["tfserving_apt_key_url"] == f"{bundle_names.ROOT}/keys/{FINGERPRINT}.gpg"


def test_what_a_host_is_told_is_a_wish_that_can_be_granted():
    (moved,) = bundle.overrides(wish(), artifacts(), "/srv/bundle", "bookworm")["tfserving_models"]
    refusals = Refusals()
    (read,) = read_models([moved], refusals)
    refusals.stop()
    assert read.provided == [1]


def test_what_a_host_is_told_meets_the_same_bundle_again():
    once = bundle.overrides(wish(), artifacts(), "/srv/bundle", "bookworm")
    again = bundle.overrides(wish(models=once["tfserving_models"]), artifacts(), "/srv/bundle", "bookworm")
    assert again == once


def test_models_of_the_controller_and_the_host_stay_where_they_are():
    local = [model(source={"type": "path", "uri": "/srv/digits"})]
    assert bundle.overrides(wish(models=local), artifacts(), "/srv/bundle", "bookworm")["tfserving_models"] == local


def test_an_image_keeps_the_name_of_its_release():
    tools = [artifact(f"packages/bookworm/{name}_1_all.deb") for name in bundle.IMAGE_TOOLS]
    held = artifacts(*tools, artifact(f"{LAYOUT}/index.json"))
    images = bundle.overrides(image_wish(), held, "/srv/bundle", "bookworm")["tfserving_images"]
    assert images == {"2.19.1": f"oci:{bundle_names.ROOT}/{LAYOUT}@sha256:{DIGEST}"}
    (unpacked,) = [entry for entry in bundle.files(image_wish(), held, "bookworm") if entry["unless"]]
    assert unpacked["unless"] == f"/opt/tfserving/releases/serving@sha256-{DIGEST[:16]}/release.json"


def test_an_archive_comes_from_the_bundle():
    entry = {"uri": "https://builds.example/server.tgz", "sha256": sha256(b"server"), "binary": "bin/server"}
    asked = wish(method="archive", archives={"2.19.1": entry})
    held = artifacts(artifact(f"archives/{sha256(b'server')}", b"server"))
    found = bundle.overrides(asked, held, "/srv/bundle", "bookworm")["tfserving_archives"]
    assert found["2.19.1"] == {**entry, "uri": f"/srv/bundle/archives/{sha256(b'server')}"}


def test_models_are_not_brought_to_a_host_that_may_have_them():
    paths = [entry["path"] for entry in bundle.files(wish(), artifacts(), "bookworm")]
    assert "packages/bookworm/Packages" in paths
    assert not [path for path in paths if path.startswith("models/")]


def test_a_host_of_another_release_is_refused():
    with refused(
        "tfserving_fleet_bundle: it holds no packages for noble; make it again with a builder of that release"
    ):
        bundle.overrides(wish(), artifacts(), "/srv/bundle", "noble")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (wish(version="2.20.0"), "tfserving_version: tensorflow-model-server 2.20.0 is not in the bundle for bookworm"),
        (
            wish(jemalloc_package="libjemalloc3"),
            "tfserving_fleet_bundle: it holds no package libjemalloc3 for bookworm",
        ),
        (
            wish(apt={**wish()["apt"], "fingerprint": "AA"}),
            "tfserving_apt_key_fingerprint: its key is not in the bundle",
        ),
        (
            wish(models=[model(content=b"another")]),
            "tfserving_models[0].source.uri: https://models.example/digits.tgz is not in the bundle as it is wished",
        ),
    ],
)
def test_a_wish_that_the_bundle_does_not_meet_is_refused(asked, sentence):
    with refused(f"{sentence}; make the bundle again for this inventory"):
        bundle.overrides(asked, artifacts(), "/srv/bundle", "bookworm")


def test_an_image_that_is_not_in_the_bundle_is_refused():
    tools = [artifact(f"packages/bookworm/{name}_1_all.deb") for name in bundle.IMAGE_TOOLS]
    with refused("tfserving_images.2.19.1: is not in the bundle; make the bundle again for this inventory"):
        bundle.overrides(image_wish(), artifacts(*tools), "/srv/bundle", "bookworm")

# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host's wishes for a release mean, and every way in which they can be wrong."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from hypothesis import given
from hypothesis import strategies as st

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
MARK = "sha256-0123456789abcdef"
ARCHIVE = {"uri": "/srv/server.tar.gz", "sha256": HEX}


def image_of(reference: object) -> dict[str, object]:
    return release_ids.release("2.19.1", "image", images={"2.19.1": reference})


def archive_of(**fields: object) -> dict[str, object]:
    entry = {key: value for key, value in {**ARCHIVE, **fields}.items() if value is not None}
    return release_ids.release("2.19.1", "archive", archives={"2.19.1": entry})


@pytest.mark.parametrize(
    ("reference", "name", "source"),
    [
        ("registry.example:5000/a/serving", "serving", "registry.example:5000/a/serving"),
        ("registry.example/serving:2.19.1-gpu", "serving", "registry.example/serving"),
        ("localhost/serving", "serving", "localhost/serving"),
        ("tensorflow/serving", "serving", "docker.io/tensorflow/serving"),
        ("serving", "serving", "docker.io/library/serving"),
        ("docker://registry.example/serving", "serving", "registry.example/serving"),
        ("oci:/srv/images/serving", "serving", "oci:/srv/images/serving"),
        ("oci:/srv/images/serving:gpu/", "serving-gpu", "oci:/srv/images/serving:gpu/"),
        ("docker-archive:/srv/serving-2.19.1.tar", "serving-2.19.1", "docker-archive:/srv/serving-2.19.1.tar"),
        ("docker-archive:/srv/a@b.tar.gz", "a-b", "docker-archive:/srv/a@b.tar.gz"),
        ("oci:/srv/.hidden", "hidden", "oci:/srv/.hidden"),
        ("oci:/srv/...", "image", "oci:/srv/..."),
    ],
)
def test_an_image_is_named_after_its_repository_and_digest(reference, name, source):
    assert image_of(f"{reference}@{DIGEST}") == {
        "id": f"{name}@{MARK}",
        "path": f"/opt/tfserving/releases/{name}@{MARK}",
        "chroot": True,
        "binary": "/usr/bin/tensorflow_model_server",
        "source": f"{source}@{DIGEST}",
        "digest": DIGEST,
    }


def test_a_digest_in_capitals_is_the_same_digest():
    assert image_of(f"a/b@sha256:{HEX.upper()}") == image_of(f"a/b@{DIGEST}")


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("/srv/server.tar.gz", "/srv/server.tar.gz"),
        ("builds/server.tar.gz", "builds/server.tar.gz"),
        ("https://me:secret@builds.example/s.tgz?token=secret", "https://builds.example/s.tgz"),
    ],
)
def test_an_archive_is_named_after_its_checksum_and_its_source_shows_no_secret(uri, source):
    path = f"/opt/tfserving/releases/tensorflow_model_server@{MARK}"
    assert archive_of(uri=uri) == {
        "id": f"tensorflow_model_server@{MARK}",
        "path": path,
        "chroot": False,
        "binary": f"{path}/rootfs/tensorflow_model_server",
        "source": source,
        "digest": DIGEST,
    }


def test_the_binary_of_an_archive_may_lie_deeper():
    assert archive_of(binary="bin/server")["binary"].endswith(f"@{MARK}/rootfs/bin/server")


def test_a_package_is_named_after_its_version():
    path = "/srv/releases/tensorflow-model-server@2.19.1"
    assert release_ids.release("2.19.1", "apt", root="/srv/releases/") == {
        "id": "tensorflow-model-server@2.19.1",
        "path": path,
        "chroot": False,
        "binary": f"{path}/rootfs/usr/bin/tensorflow_model_server",
        "source": "tensorflow-model-server=2.19.1",
        "digest": "",
    }


@given(st.text(alphabet="0123456789abcdef", min_size=64, max_size=64), st.text(min_size=1))
def test_whatever_a_directory_is_called_its_release_has_a_name_that_the_store_finds(digits, name):
    image = release_ids.Image(release_ids.OCI, f"/srv/{name}", f"sha256:{digits}")
    found = release_ids.release_id(image.name, image.digest)
    assert "/" not in found
    assert not found.startswith((".", "-"))
    assert found.endswith(f"@sha256-{digits[:16]}")


APPEND = "append @sha256:... as `skopeo inspect` prints it"
WRITE = "write sha256: and its 64 hexadecimal digits, as `skopeo inspect` prints them"
FORMS = "write registry.example/path/name@sha256:..., oci:/DIRECTORY@sha256:... or docker-archive:/FILE@sha256:..."


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("registry.example/serving:2.19.1", f"names no digest; {APPEND}"),
        ("registry.example:5000/serving", f"names no digest; {APPEND}"),
        ("registry.example/serving@2.19.1", f"names no digest; {APPEND}"),
        ("oci:/srv/a@b/serving", f"names no digest; {APPEND}"),
        ("a/b@sha256:0123", f"holds no SHA-256 digest; {WRITE}"),
        (f"a/b@sha256:{'g' * 64}", f"holds no SHA-256 digest; {WRITE}"),
        (f"a/b@md5:{HEX}", f"holds no SHA-256 digest; {WRITE}"),
        (f"me:secret@registry.example/UPPER@{DIGEST}", f"names no repository; {FORMS}"),
        (f"docker-daemon:serving:gpu@{DIGEST}", f"names no repository; {FORMS}"),
        (f"oci:images/serving@{DIGEST}", f"names no absolute path; write oci:/PATH@{DIGEST}"),
        (f"docker-archive:s.tar@{DIGEST}", f"names no absolute path; write docker-archive:/PATH@{DIGEST}"),
        ({"image": "a"}, "is a mapping; write REPOSITORY@sha256:DIGEST"),
        ("", "is empty; write REPOSITORY@sha256:DIGEST"),
    ],
)
def test_an_image_that_is_not_pinned_or_not_named_is_refused(reference, message):
    with pytest.raises(WishError) as refusal:
        image_of(reference)
    assert str(refusal.value) == f"tfserving_images.2.19.1: {message}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"uri": None}, ": names no uri; add uri: a path, or an address that begins with https://"),
        ({"sha256": None}, ": names no sha256; add sha256: HEX as sha256sum prints it"),
        (
            {"sha256": "abc"},
            ".sha256: holds no SHA-256 digest; write the 64 hexadecimal digits that sha256sum prints",
        ),
        (
            {"uri": "ftp://me:secret@host/s.tar"},
            ".uri: is no address that can be fetched; begin it with https:// or http://, or give a path",
        ),
        (
            {"binary": "../server"},
            ".binary: '../server' is not a path inside the archive; write it relative to the archive's top",
        ),
        (
            {"binary": "/bin/server"},
            ".binary: '/bin/server' is not a path inside the archive; write it relative to the archive's top",
        ),
        ({"sha265": "abc"}, ".sha265: is not a key of an archive; did you mean 'sha256'?"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(fields, message):
    with pytest.raises(WishError) as refusal:
        archive_of(**fields)
    assert str(refusal.value) == f"tfserving_archives.2.19.1{message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"method": "image", "images": {"2.18.0": f"a@{DIGEST}"}},
            'tfserving_images: has no entry for 2.19.1; add one: "2.19.1": REPOSITORY@sha256:DIGEST',
        ),
        (
            {"method": "image"},
            'tfserving_images: has no entry for 2.19.1; add one: "2.19.1": REPOSITORY@sha256:DIGEST',
        ),
        (
            {"method": "image", "images": ["a"]},
            'tfserving_images: is a list; map versions: "2.19.1": REPOSITORY@sha256:DIGEST',
        ),
        (
            {"method": "archive", "archives": {}},
            'tfserving_archives: has no entry for 2.19.1; add one: "2.19.1": {uri: PATH, sha256: HEX}',
        ),
        (
            {"method": "archive", "archives": {"2.19.1": "/srv/a.tar"}},
            "tfserving_archives.2.19.1: is a string; write {uri: PATH, sha256: HEX}",
        ),
        (
            {"method": "apt", "package": "../x"},
            "package: '../x' is not a package name; write it as tensorflow-model-server",
        ),
        ({"method": "apt", "version": "../x"}, "tfserving_version: '../x' is not a version; write it as 2.19.1"),
        ({"method": "imgae"}, "tfserving_install_method: 'imgae' is not a method; did you mean 'image'?"),
        ({"method": "rpm"}, "tfserving_install_method: 'rpm' is not a method; use apt, image or archive"),
    ],
)
def test_a_wish_without_what_it_needs_is_refused(arguments, message):
    with pytest.raises(WishError) as refusal:
        release_ids.release(**{"version": "2.19.1", **arguments})
    assert str(refusal.value) == message


def test_the_binary_of_an_image_is_an_absolute_path():
    with pytest.raises(WishError) as refusal:
        release_ids.of_image("2.19.1", f"a/b@{DIGEST}", binary="bin/server")
    message = "the binary 'bin/server' is not a path inside the image; write it from the image's root"
    assert str(refusal.value) == f"tfserving_images.2.19.1: {message}"

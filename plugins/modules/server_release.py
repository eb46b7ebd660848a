#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings one release of the server onto a host; the work is in the module_utils that begin with release_."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_release
short_description: Install one release of TensorFlow Serving beside the others
version_added: 0.1.0
description:
  - Puts one build of C(tensorflow_model_server) into a directory of its own, named after what it was made from, so that
    several releases are kept side by side, and a host goes from one to another, and back, without downloading.
  - A release is built in a directory whose name begins with a dot and appears by one rename. What a run that was killed
    leaves behind is removed by the next.
  - A published release never changes. One that is there already is neither fetched nor compared again.
  - An image is fetched with C(skopeo) and unpacked with C(umoci); no container engine is needed. Its set-user-ID bits
    and file capabilities are taken away, since the server needs none of them.
options:
  root:
    description: Directory with one directory a release.
    type: path
    default: /opt/tfserving/releases
  version:
    description: The wanted version of the server, C(tfserving_version). It is recorded, and names the user's variable
      in messages. Of a package it is the version that must be installed.
    type: str
    required: true
  method:
    description: What the release is made from.
    type: str
    choices: [image, archive, apt]
    required: true
  image:
    description:
      - The image for O(method=image), one of the three forms below. All are pinned by a digest.
      - C(registry.example/path/name@sha256:HEX), an image of a registry, by the digest of its manifest or index.
      - C(oci:/directory@sha256:HEX), an OCI layout on the host, by the digest of a manifest or index in it.
      - C(docker-archive:/file.tar@sha256:HEX), what C(docker save) wrote, by the SHA-256 of the file.
    type: str
  mirrors:
    description:
      - Registries to be tried in this order before the one in O(image), as C(host:port/prefix); the path of the image
        is appended.
      - One that begins with C(http://) is asked without encryption and without credentials. The digest decides what is
        accepted.
    type: list
    elements: str
    default: []
  auth_file:
    description: File on the host with the credentials of registries, as C(skopeo login --authfile) writes it. Nobody
      but its owner may be able to read it.
    type: path
  archive:
    description: File on the host for O(method=archive), a tar (plain, gzip, bzip2, xz), a zip, or the bare program.
    type: path
  archive_uri:
    description: Where the archive comes from, for the record. An C(http) or C(https) address is fetched where
      O(archive) is not given; its user, password and query are not recorded.
    type: str
  archive_address:
    description: The address to fetch in place of O(archive_uri), where a user or a query of it may be secret. It is
      neither logged nor shown.
    type: str
  archive_sha256:
    description: SHA-256 of the archive, 64 hexadecimal digits. Required with O(method=archive).
    type: str
  download_timeout:
    description:
      - Seconds of silence after which the download of an archive is given up.
      - A transfer of less than 64 KiB a second is given up as well, after its first minute.
    type: int
    default: 60
  lock_timeout:
    description: Seconds to wait for another run that works on the releases of this host.
    type: int
    default: 120
  package:
    description: Installed package for O(method=apt). Its regular files are copied, without settings and documentation.
    type: str
    default: tensorflow-model-server
  binary:
    description: Path of the server inside the image, by default C(/usr/bin/tensorflow_model_server), or inside the
      archive, by default C(tensorflow_model_server).
    type: str
  state:
    description: Releases are only ever added by this module; M(tfserving.fleet.server_releases_prune) removes them.
    type: str
    choices: [present]
    default: present
requirements:
  - skopeo and umoci on the host for O(method=image)
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Says whether the release would be installed, and fetches nothing.
    support: full
  diff_mode:
    description: Shows the release and its source where it is new.
    support: full
notes:
  - Needs root. Only one run at a time works on the releases of a host.
  - The host's C(/etc/containers/policy.json) and C(registries.conf) apply to images, and the environment's proxies.
seealso:
  - module: tfserving.fleet.server_releases_prune
"""

EXAMPLES = r"""
- name: Install the GPU build from a mirror of the registry
  tfserving.fleet.server_release:
    version: 2.19.1
    method: image
    image: docker.io/tensorflow/serving@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    mirrors: [mirror.example:5000/hub]
    auth_file: /etc/tfserving/auth.json

- name: Install a build of one's own
  tfserving.fleet.server_release:
    version: 2.19.1
    method: archive
    archive_uri: https://builds.example.com/tensorflow_model_server-2.19.1.tar.gz
    archive_sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    binary: bin/tensorflow_model_server

- name: Keep what apt installed as a release of its own
  tfserving.fleet.server_release:
    version: 2.19.1
    method: apt
"""

RETURN = r"""
release:
  description: The release; in check mode only what is known beforehand where it is not there yet.
  returned: success
  type: dict
  contains:
    id:
      description: Its name, NAME@sha256-FIRST 16 DIGITS, or PACKAGE@VERSION for a package.
      type: str
      sample: serving@sha256-0123456789abcdef
    path:
      description: Its directory.
      type: str
      sample: /opt/tfserving/releases/serving@sha256-0123456789abcdef
    method:
      description: What it was made from.
      type: str
    version:
      description: The version that was wanted when it was installed.
      type: str
    source:
      description: The reference, address, path or PACKAGE=VERSION that it was made from, without credentials.
      type: str
    digest:
      description: The digest of the image or archive; for a package that of the server in it.
      type: str
    architecture:
      description: What it runs on, as images name it.
      type: str
      sample: amd64
    chroot:
      description: Whether it runs with its C(rootfs) as root directory (images), or on the host's tree.
      type: bool
    binary:
      description: Path of the server as a unit starts it, inside the root directory where O(ignore:chroot) is true.
      type: str
    library_path:
      description: LD_LIBRARY_PATH of the image; empty for none.
      type: str
    environment:
      description: Other variables of the image that the server needs; none is known.
      type: dict
    glibc:
      description: Version of the GNU C library in the image; empty for what runs on the host's.
      type: str
      sample: "2.35"
    size_bytes:
      description: Bytes that it takes on the disk.
      type: int
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.install import install
from ansible_collections.tfserving.fleet.plugins.module_utils.releases.job import Run

ARGUMENTS = {
    "root": {"type": "path", "default": defaults.RELEASES},
    "version": {"type": "str", "required": True},
    "method": {"type": "str", "choices": ["image", "archive", "apt"], "required": True},
    "image": {"type": "str"},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "auth_file": {"type": "path", "no_log": False},
    "archive": {"type": "path"},
    "archive_uri": {"type": "str"},
    "archive_address": {"type": "str", "no_log": True},
    "archive_sha256": {"type": "str"},
    "download_timeout": {"type": "int", "default": 60},
    "lock_timeout": {"type": "int", "default": 120},
    "package": {"type": "str", "default": defaults.PACKAGE},
    "binary": {"type": "str"},
    "state": {"type": "str", "choices": ["present"], "default": "present"},
}


def runner(module: AnsibleModule) -> Run:
    """Return what runs programs for this module; they end with it, even if it is killed."""
    # A skopeo that outlived its module would write into the staging directory of the next run.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []

    def run(arguments: list[str], directory: str) -> tuple[int, str, str]:
        ended: tuple[int, str, str] = module.run_command(
            [*bound, *arguments], cwd=directory, expand_user_and_vars=False
        )
        return ended

    return run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C"}
    # What the server's user must read is made by programs that go by the umask.
    os.umask(0o022)
    try:
        result = install(module.params, module.check_mode, runner(module))
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        place = error.filename or module.params["root"]
        module.fail_json(msg=f"{place}: {error.strerror or error}; check that host's files")
    module.exit_json(**result)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes model versions for TensorFlow Serving; everything that touches the disk is in model_store."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_repository
short_description: Publish model versions for TensorFlow Serving
version_added: 0.1.0
description:
  - Brings every wanted version of every model onto the host, in one remote call where nothing is missing.
  - A version is fetched, compared with its checksum, unpacked beside its place, checked for being a whole SavedModel
    and brought to the disk; only then it appears, by one rename. The server, which polls the directory once a second,
    never sees half a version.
  - A version that has served is immutable. A wish for another checksum under the same number is refused.
  - A version that never served, such as a broken copy, is replaced where the wish has another checksum, or where its
    O(models[].source.type=path) without a checksum has other content. Only as long as no server has answered for the
    version its source is compared with it.
  - All versions of all models are made ready before the first of them appears, so that a source that fails leaves
    the host as it was.
  - Versions put there by hand are adopted as they are, as long as they are whole; as for the server, C(00000007) is
    version 7.
  - Whole means that C(saved_model.pb) is a message whose lengths add up, has a graph with the tags that the servers
    load, and is beside the assets and the variables that it needs, the shards being as long as their index says.
    C(saved_model.pbtxt) is taken as it is. C(saved_model.cpb) and C(model.tflite) are refused.
options:
  root:
    description: Directory with one base path a model.
    type: path
    default: /var/lib/tfserving/models
  models:
    description:
      - The models of the plan. Keys other than those below are of no concern here and are ignored, except within
        O(models[].source), where an unknown key is refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the model; its base path is C(root/name). It is made even while it holds no version,
          because one missing base path stops the server from finding versions of any model.
        type: str
        required: true
      versions:
        description: Versions that must be on the host, whole numbers from 1.
        type: list
        elements: raw
        required: true
      provided:
        description: Those of O(models[].versions) that O(models[].source) provides. By default all, where its address
          has C({version}), or the only one.
        type: list
        elements: raw
      source:
        description: Where missing versions come from.
        type: dict
        required: true
        suboptions:
          type:
            description: V(http) for an archive on an HTTP or HTTPS server, V(path) for an archive or a directory,
              V(mlflow) for a registered model of an MLflow server, V(s3) for an archive or a folder in a bucket; an
              unknown one is refused.
            type: str
            required: true
          uri:
            description:
              - Address or path; C({version}) in it stands for the version.
              - Of an MLflow server its address, in a bucket C(s3://BUCKET/KEY) for an archive and C(s3://BUCKET/FOLDER/)
                for a folder.
              - An archive is a tar (plain, gzip, bzip2, xz) or a zip, recognised by its content. It holds one
                SavedModel, at its top or in a directory; links, special files and names that lead out of it are
                refused, modes and owners are not taken over.
            type: str
            required: true
          sha256:
            description:
              - Checksum of the archive, as one string for the only version provided or as a map from version to string.
              - For a directory, the SHA-256 of the sorted listing of its files; inside the directory that holds
                C(saved_model.pb) this prints it,
                C(find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum).
            type: raw
          remote:
            description: Whether a path is one on the host; otherwise it is on the controller and is sent only when
              the host lacks the version.
            type: bool
            default: false
          headers:
            description: Request headers for this source, over those of O(headers).
            type: dict
            default: {}
          model:
            description: Name of the registered model at an MLflow server; its versions are the registry's own.
            type: str
          alias:
            description: An alias of the registered model. Where a version has to be fetched, the alias must point to
              it. The controller asks once a run.
            type: str
          endpoint:
            description: Address of the object store. By default that of S3 in O(models[].source.region).
            type: str
          region:
            description: Region of the bucket, by default C(us-east-1).
            type: str
          path_style:
            description: Whether the bucket stands in the path of an address and not in the name of its host. By default
              where there is an O(models[].source.endpoint).
            type: bool
          credentials:
            description:
              - For V(mlflow) C(token), or C(username) and C(password); for V(s3) C(access_key), C(secret_key) and
                perhaps C(session_token).
              - "Each is the value itself, or C({environment: NAME}) for a variable of the controller's environment."
              - They are used by the controller alone and are not sent to hosts.
            type: dict
            default: {}
      serve:
        description:
          - "The serving policy: C({latest: N}), C({all: true}) or C({versions: [], labels: {}})."
          - No version that it names is removed.
        type: dict
        default: {latest: 1}
      contract:
        description:
          - The signature that callers rely on, as C(tfserving_models[].contract) has it. A version that departs from it
            is not published, and one that is on the host and about to be served is refused.
        type: dict
      probe:
        description: The request that proves the model, as C(tfserving_models[].probe) has it, or false.
        type: raw
      golden:
        description: The plan's entry for the golden requests of the model, with C(file), C(sha256) and C(requests).
        type: dict
      warmup:
        description:
          - Whether a version that brings none gets warm-up records, which the server replays before it serves it.
          - V(auto) makes them of O(models[].golden), else of O(models[].probe), where there is one; V(false) never.
          - There is one record for each batch size of O(instances[].batching), encoded by the signature in
            C(saved_model.pb) and decoded again. A version whose signature does not take the request is refused.
          - A version that has served never changes, so other requests take effect with the next version. One that is to
            serve and never has is replaced.
        type: raw
        default: auto
      proofs:
        description: >-
          Of versions that have their own O(models[].contract), O(models[].probe), O(models[].golden) and
          O(models[].warmup), these by the version.
        type: dict
      path:
        description: Place of this model in the user's variables, for messages; by default
          C(tfserving_models[N]).
        type: str
      keep:
        description:
          - How many of the newest versions stay on disk. Older ones are removed unless they are wanted, named by
            O(models[].serve), or held by a server of O(instances) in any state but C(END).
          - Where one of these servers cannot be asked, nothing of the model is removed. Without this option
            nothing is removed at all.
        type: int
      protected:
        description: Versions that stay, whatever O(models[].keep) says, but need not be there.
        type: list
        elements: raw
        default: []
  sources:
    description:
      - JSON text with what may be secret of a source, C(uri), C(headers) and C(credentials), by the name of a model. It
        precedes what
        O(models[].source) says.
      - What of an address may be secret, such as a user or a query, belongs here, as O(models[].source.uri) is shown.
    type: str
    default: "{}"
  instances:
    description: The instances of the plan, of which O(instances[].models) and C(ports.rest) tell whom to ask before a
      version is removed. Other keys are ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the instance.
        type: str
        required: true
      models:
        description: Names of the models it serves.
        type: list
        elements: str
        default: []
      ports:
        description: Its ports by name.
        type: dict
        default: {}
      flags:
        description: Its flags, of which C(enable_batching) and C(saved_model_tags) are read. A model that cannot be
          served in batches is refused where C(enable_batching) is set.
        type: dict
        default: {}
      batching:
        description: Its batching, of which C(allowed_batch_sizes) and C(max_batch_size) are read where
          C(enable_batching) is set.
        type: dict
  owner:
    description: Owner of everything published. Not the server's user, so that the server can read its models and
      never write them.
    type: str
    default: root
  group:
    description: Group of everything published. To hide models from other users of the host, name the server's group
      here and set O(directory_mode=0750) and O(file_mode=0640).
    type: str
    default: root
  directory_mode:
    description: Mode of directories, octal.
    type: str
    default: "0755"
  file_mode:
    description: Mode of files, octal. Files of a SavedModel are data; none is executable.
    type: str
    default: "0644"
  headers:
    description: Request headers for all downloads. They are sent to the server in the address only, not to one that
      it redirects to.
    type: dict
    default: {}
  download_timeout:
    description:
      - Seconds of silence after which a download is given up.
      - A transfer of less than 64 KiB a second is given up as well, after its first minute.
    type: int
    default: 60
  min_free_mb:
    description: MiB of the file system that publishing leaves free.
    type: int
    default: 1024
  staging:
    description: Directory on the host in which archives from the controller wait to be unpacked; the connecting user
      must be able to write to it. By default Ansible's own temporary directory, which for large models may be too
      small.
    type: path
  imports:
    description: Directory on the controller that remembers the SHA-256 of each file of the versions that it has fetched
      from an MLflow server or a bucket, so that a version that has been imported once stays what it was. By default
      C(~/.ansible/tfserving-fleet-imports).
    type: path
  prune:
    description: Whether versions that O(models[].keep) no longer covers are removed. Publish with V(false), bring the
      servers in line, then call again, and what the servers have let go of is removed by the same run.
    type: bool
    default: true
  state:
    description: Versions are only ever published by this module; what O(models[].keep) no longer covers goes by itself.
    type: str
    choices: [present]
    default: present
  staged:
    description: What the action plugin has sent from the controller. Not for use in playbooks.
    type: dict
    default: {}
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    description: Says what would be published and removed, and downloads nothing. Sources given by path are checked, and
      MLflow servers and buckets are asked for what they list.
    support: full
  diff_mode:
    description: Shows the versions on disk, before and after, by model.
    support: full
notes:
  - Works only while no other run publishes to the same O(root) on the host; a second one is refused.
"""

EXAMPLES = r"""
- name: Publish two versions of a model and keep three for rollback
  tfserving.fleet.model_repository:
    models:
      - name: ranker
        versions: [6, 7]
        source:
          type: http
          uri: https://models.example.com/ranker/{version}.tar.gz
          sha256:
            6: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
            7: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
        keep: 3

- name: Publish a version of a registered model, whose alias must point to it
  tfserving.fleet.model_repository:
    models:
      - name: ranker
        versions: [8]
        source:
          type: mlflow
          uri: https://mlflow.example.com
          model: ranker
          alias: champion
          credentials: {token: {environment: MLFLOW_TRACKING_TOKEN}}

- name: Publish a directory of the controller
  tfserving.fleet.model_repository:
    models:
      - name: ranker
        versions: [7]
        source:
          type: path
          uri: exports/ranker/7
"""

RETURN = r"""
published:
  description: Versions published by this run; sha256 is that of the archive, or of the listing of a directory, and is
    null in check mode where it is not wished. warmup is the number of warm-up records that were made for it, if any.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 7, sha256: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9}]
removed:
  description: Versions removed by this run.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 3}]
kept:
  description: Versions beyond O(models[].keep) that stayed, with the reason.
  returned: success
  type: list
  elements: dict
  sample: [{model: ranker, version: 4, reason: a server holds it}]
notes:
  description: What a person should know though nothing failed.
  returned: success
  type: list
  elements: str
models:
  description: Versions on disk by model, after the run.
  returned: success
  type: dict
  sample: {ranker: [5, 6, 7]}
unsettled:
  description: >-
    Whether a call with O(prune) after the servers has anything to do, to remove versions or to note which have served.
  returned: success
  type: bool
problems:
  description: Every reason for a refusal, one sentence each.
  returned: when refused
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import repository
from ansible_collections.tfserving.fleet.plugins.module_utils.models.options import ARGUMENTS
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import sentences


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = repository.execute(module.params, module.check_mode)
    except WishError as error:
        module.fail_json(msg=str(error), problems=sentences(error))
    except RefusalError as error:
        module.fail_json(msg=str(error), problems=[str(error)])
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['root']}: {error.strerror}; check that host's files")
    module.exit_json(**result)


if __name__ == "__main__":
    main()

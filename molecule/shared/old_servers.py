# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The servers that the scenario adopt sets up: the names and kinds of their origins, and their ports of gRPC."""

OLD = {
    "old-serving.service": ("systemd", 9500),
    "scores": ("supervisor", 9510),
    "tensorflow_model_server-9520": ("by_hand", 9520),
    "old-container": ("podman", 9530),
}

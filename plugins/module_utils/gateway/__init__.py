# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy on a gateway: its sockets, its processes, its maps, and the proof that it loses no call."""

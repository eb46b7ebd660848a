# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a gateway: HAProxy in front of all serving hosts."""

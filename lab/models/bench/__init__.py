# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models for measuring: each has another service time over the size of a batch."""

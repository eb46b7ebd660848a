# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether an error means that a disk is full."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)

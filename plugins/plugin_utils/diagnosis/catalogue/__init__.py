# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Known faults, one file each."""

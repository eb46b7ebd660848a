# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host says about itself: /proc and /sys, processes, packages, accounts, and the records of this collection."""

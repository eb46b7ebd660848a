# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's virtual machine: its image, its hardware and its life cycle."""

# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's devices on the bus, nvidia-smi's answers and the Xids of the kernel log."""

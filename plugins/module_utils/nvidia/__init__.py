# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA devices on the bus, the answers of nvidia-smi, and Xids in the kernel log."""

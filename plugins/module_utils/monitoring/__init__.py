# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A monitoring host's programs and those that it reads: what runs, what it remembers, and the proof that it watches."""

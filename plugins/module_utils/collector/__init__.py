# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host tells Prometheus beside what others tell already; the program `tfserving-collector`."""

# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host tells about itself while it is measured."""

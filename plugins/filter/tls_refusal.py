# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that looks at a certificate and its key before any host is given them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tls_refusal
short_description: Why a certificate and a key cannot serve, or nothing
version_added: 0.1.0
description:
  - A server with a key that does not belong to its certificate starts, and then fails every handshake; so does one
    whose certificate has expired. This checks it beforehand.
  - Nothing of the key is in the text.
positional: key, client_ca
options:
  _input:
    description: The certificate as PEM text, intermediate ones after it; empty for none.
    type: str
    required: true
  key:
    description: Its private key as PEM text, without a passphrase.
    type: str
    required: true
  client_ca:
    description: Certificates of the authorities of clients as PEM text; empty for none.
    type: str
    default: ""
requirements:
  - cryptography, which ansible-core brings
"""

EXAMPLES = r"""
- name: Refuse a key that is not the certificate's
  ansible.builtin.assert:
    that: refusal == ''
    fail_msg: "{{ refusal }}"
  vars:
    refusal: "{{ tfserving_tls_certificate | tfserving.fleet.tls_refusal(tfserving_tls_key) }}"
"""

RETURN = r"""
_value:
  description: One sentence, naming the variable; empty where all is well.
  type: str
"""

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import tls as tls_pair


def tls_refusal(certificate: str, key: str, client_ca: str = "") -> str:
    """Return why the two cannot serve, or an empty text."""
    try:
        tls_pair.check(certificate, key, client_ca)
    except WishError as error:
        return str(error)
    return ""


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict:
        """Return the filter by its name."""
        return {"tls_refusal": tls_refusal}

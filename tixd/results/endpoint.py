"""How to get to the tix-api, and whom to believe on the way.

In: settings. Out: headers, proxy, TLS context. Rules: no message shows a password; what cannot be
used is a ConfigError that names the setting.
"""

from __future__ import annotations

import base64
import os
import ssl
from urllib.parse import unquote, urlsplit

from tixd import errors
from tixd.config.fields import Secret


def basic(user: str, password: str) -> str:
    """Basic credentials, in UTF-8 as the tix-api decodes them.

    >>> basic("tix", "secret")
    'Basic dGl4OnNlY3JldA=='
    """
    encoded = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(encoded).decode()


def proxy(setting: Secret) -> tuple[str, dict[str, str]]:
    """The proxy's URL without its credentials, and the headers that carry them."""
    text = setting.reveal()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise errors.ConfigError("api.proxy is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise errors.ConfigError("api.proxy is no http:// or https:// URL")
    url = f"{parts.scheme}://{_in_url(host)}" + ("" if port is None else f":{port}")
    if parts.username is None:
        return url, {}
    secret = basic(unquote(parts.username), unquote(parts.password or ""))
    return url, {"Proxy-Authorization": secret}


def trust(ca_bundle: str) -> ssl.SSLContext:
    """Whose certificates are believed: those in a file or folder; empty: the system's."""
    try:
        if os.path.isdir(ca_bundle):
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle or None)
    except OSError as error:
        raise errors.ConfigError(f"api.ca_bundle {ca_bundle}: {error.strerror}") from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""The way to other machines: the one that the user's pip takes, with its proxy, its certificates and its passwords."""

import logging
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
import truststore
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url, get_netrc_auth
from urllib3 import Retry
from urllib3.exceptions import InsecureRequestWarning

from soundnet_kd.errors import one_line
from soundnet_kd.pretrained.pip_settings import PipSettings

PASSING_FAILURES = (500, 502, 503, 520, 527)
"""Answers of servers that are asked once more, as pip does."""


class CertificateFileError(requests.RequestException):
    """A file of certificates cannot be read; the message names it."""


class PipSession(requests.Session):
    """Asks servers as pip does.

    Parameters
    ----------
    settings : PipSettings
        An index's name and password, if they stand in its address, are told to its host and to no other.
    """

    def __init__(self, settings: PipSettings) -> None:
        super().__init__()
        self._settings = settings
        places = (settings.index_url or "", *settings.extra_index_urls, *settings.find_links)
        with_password = [place for place in places if any(get_auth_from_url(place))]
        self.auth = _Passwords({_host(place): get_auth_from_url(place) for place in with_password})
        self.cert = settings.client_cert
        retry = Retry(
            total=settings.retries,
            backoff_factor=0.25,
            status_forcelist=PASSING_FAILURES,
            raise_on_status=False,
            # A server could have us wait for hours without a word.
            respect_retry_after_header=False,
        )
        self.mount("http://", HTTPAdapter(max_retries=retry))
        self.mount("https://", _SystemCertificates(max_retries=retry))
        for host in settings.trusted_hosts:
            # With and without a port.
            self.mount(f"https://{host}/", _NoCertificates(max_retries=retry))
            self.mount(f"https://{host}:", _NoCertificates(max_retries=retry))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and wait no longer than pip would."""
        if options.get("timeout") is None:
            options["timeout"] = self._settings.timeout_seconds
        try:
            with _told_once():
                return super().send(request, **options)
        except requests.RequestException:
            raise
        except OSError as error:
            # A file of certificates that is not there.
            raise CertificateFileError(one_line(error)) from error

    def merge_environment_settings(self, *arguments: Any, **options: Any) -> Any:
        """Prefer what is set for pip to what is set for all programs."""
        merged = super().merge_environment_settings(*arguments, **options)
        if self._settings.proxy:
            merged["proxies"] = {"http": self._settings.proxy, "https": self._settings.proxy}
        if self._settings.cert:
            merged["verify"] = self._settings.cert
        return merged


@contextmanager
def _told_once() -> Iterator[None]:
    """Keep urllib3 from logging each try with the whole stack; who asks is told in the end."""
    log = logging.getLogger("urllib3.connectionpool")
    log.addFilter(_is_error)
    try:
        yield
    finally:
        log.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


class _Passwords(AuthBase):
    def __init__(self, by_host: Mapping[str, tuple[str, str]]) -> None:
        self._by_host = by_host

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        own = get_auth_from_url(url)
        known = own if any(own) else self._by_host.get(_host(url)) or get_netrc_auth(url)
        return HTTPBasicAuth(*known)(request) if known else request


class _SystemCertificates(HTTPAdapter):
    """Trusts what the system trusts, as pip does, besides the certificates that a request names."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=_system_context())

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=_system_context())


class _NoCertificates(HTTPAdapter):
    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        super().cert_verify(conn, url, verify=False, cert=cert)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        with warnings.catch_warnings():
            # The user has said that it may be so.
            warnings.simplefilter("ignore", InsecureRequestWarning)
            return super().send(*arguments, **options)


def without_password(url: str) -> str:
    """Return an address without what nobody else may see: name and password, and what follows the path."""
    parts = urlsplit(url)
    return parts._replace(netloc=_host(url), query="", fragment="").geturl()


def explain_failure(error: requests.RequestException) -> str:
    """Return in a few words why a request failed, and what helps; requests gives its whole stack, with passwords."""
    match error:
        case requests.HTTPError() if error.response is not None:
            answer = f"HTTP {error.response.status_code} {error.response.reason}"
            return f"{answer}; {_PASSWORD}" if error.response.status_code in (401, 403) else answer
        case requests.Timeout():
            return "no answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke off"
        case requests.exceptions.SSLError():
            return f"its certificate is not trusted; {_CERTIFICATE}"
        case requests.exceptions.ProxyError():
            return "no connection through the proxy"
        case requests.ConnectionError():
            return "no connection, or it was lost"
        case CertificateFileError():
            return str(error)
        case _ if isinstance(error, ValueError):
            return "this is no address, or what it answers cannot be read"
    return type(error).__name__


_PASSWORD = "if it wants a name and a password, put them into its address or into .netrc"
_CERTIFICATE = "pip's setting cert names a file of those to trust"


def _host(url: str) -> str:
    """Return host and port."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _system_context() -> ssl.SSLContext:
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

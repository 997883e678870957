"""Reads a load balancer's metrics endpoint."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from quiclb.errors import ConfigError, ScrapeError
from quiclb.net.address import parse_host_port

TIMEOUT_S = 5.0
MAX_REASON_BYTES = 500
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Sample:
    """All figures of one scrape; `at` is in seconds of the reader's clock."""

    at: float
    figures: tuple[tuple[str, dict[str, str], float], ...]

    @classmethod
    def parse(cls, text: str, at: float) -> Sample:
        """Read the Prometheus text format; raises `ScrapeError`."""
        try:
            families = list(text_string_to_metric_families(text))
        except (ValueError, KeyError, IndexError):
            raise ScrapeError("the answer is not in the Prometheus text format") from None
        figures = tuple((each.name, dict(each.labels), each.value) for family in families for each in family.samples)
        if not any(name.startswith("quiclb_") for name, _, _ in figures):
            raise ScrapeError("the answer holds no metrics of quiclb")
        return cls(at, figures)

    def totals(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The figures of one name by these labels, summed over all other labels, such as those of processes."""
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for each, values, figure in self.figures:
            if each == name:
                totals[tuple(values.get(label, "") for label in labels)] += figure
        return dict(totals)


def metrics_url(text: str) -> str:
    """Complete what a person typed: `127.0.0.1:9100` is `http://127.0.0.1:9100/metrics`; raises `ScrapeError`."""
    url = text if "://" in text else f"http://{text}"
    scheme, _, rest = url.partition("://")
    authority, slash, _ = rest.partition("/")
    try:
        if scheme not in ("http", "https"):
            raise ConfigError(f"not a scheme of the metrics: {scheme!r}")
        parse_host_port(authority.rpartition("@")[2], _DEFAULT_PORTS[scheme])
    except ConfigError as error:
        raise ScrapeError(f"metrics must be an address such as 127.0.0.1:9100 or an http URL: {error}") from None
    return url if slash else f"{url}/metrics"


async def scrape(url: str) -> Sample:
    """Fetch and parse; raises `ScrapeError`."""
    text = await asyncio.to_thread(_fetch, url)
    return Sample.parse(text, asyncio.get_running_loop().time())


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - `metrics_url` allows http only
            return str(response.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        with error:  # its first line names the remedy
            answer = error.read(MAX_REASON_BYTES).decode("utf-8", "replace").partition("\n")[0]
        raise ScrapeError(f"no metrics at {url}: {error.code} {answer or error.reason}") from None
    except urllib.error.URLError as error:
        reason = error.reason.strerror or error.reason if isinstance(error.reason, OSError) else error.reason
        raise ScrapeError(f"no metrics at {url}: {str(reason).lower()}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ScrapeError(f"no metrics at {url}: {str(error).lower() or type(error).__name__}") from None

"""Telephony vendors by name: the entry points of the group `voice_gateway.telephony`, ours among them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from quiclb.errors import ConfigError
from voice_gateway.telephony.vendor import Vendor

GROUP: Final = "voice_gateway.telephony"


def vendor_names() -> list[str]:
    """The names that are installed, sorted."""
    return sorted(entry_points(group=GROUP).names)


def check_vendor_name(name: str) -> str:
    """Return `name`; raises `ConfigError` that lists what is installed if it is not."""
    if not entry_points(group=GROUP, name=name):
        raise ConfigError(f"must be one of the installed vendors: {', '.join(vendor_names())}; got {name!r}")
    return name


def load_vendor(name: str) -> type[Vendor]:
    """Import a vendor's class; raises `ConfigError` if there is none of this name or it cannot be imported."""
    check_vendor_name(name)
    [found, *_] = entry_points(group=GROUP, name=name)
    try:
        loaded = found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"telephony vendor {name!r} ({found.value}) cannot be loaded: {error}") from None
    if not (isinstance(loaded, type) and issubclass(loaded, Vendor)):
        raise ConfigError(
            f"telephony vendor {name!r} ({found.value}) must subclass voice_gateway.telephony.vendor.Vendor"
        )
    return loaded

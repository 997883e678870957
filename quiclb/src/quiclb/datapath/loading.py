"""Datapaths by name: the entry points of the group `quiclb.datapaths`, our own among them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from quiclb.datapath.base import Datapath
from quiclb.errors import ConfigError

GROUP: Final = "quiclb.datapaths"


def datapath_names() -> list[str]:
    """The names that are installed, sorted."""
    return sorted(entry_points(group=GROUP).names)


def check_datapath_name(name: str) -> str:
    """Return `name`; raises `ConfigError` that lists what is installed if it is not."""
    if not entry_points(group=GROUP, name=name):
        raise ConfigError(f"must be one of the installed datapaths: {', '.join(datapath_names())}; got {name!r}")
    return name


def load_datapath(name: str) -> type[Datapath]:
    """Import a datapath's class; raises `ConfigError` if there is none of this name or it cannot be imported."""
    check_datapath_name(name)
    [found, *_] = entry_points(group=GROUP, name=name)
    try:
        loaded = found.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"datapath {name!r} ({found.value}) cannot be loaded: {error}") from None
    if not (isinstance(loaded, type) and issubclass(loaded, Datapath)):
        raise ConfigError(f"datapath {name!r} ({found.value}) must be a subclass of quiclb.datapath.base.Datapath")
    return loaded

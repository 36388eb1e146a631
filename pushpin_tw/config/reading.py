"""From the text of pushpin.conf to a ``Config``: includes, variables, defaults, checks (proxy 2).

Called by the command line and by tests.  Checks every value, also of features that are off.  Never opens a
file (whoever calls hands in ``read_include``), never creates a directory, never looks a name up.
"""

from __future__ import annotations

import dataclasses
import os.path
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pushpin_tw.config import kinds
from pushpin_tw.config.ini import Document, Entry, parse_ini
from pushpin_tw.config.listen import Listen
from pushpin_tw.config.loglevel import LogLevels
from pushpin_tw.config.sections import IGNORED, Global, Handler, Proxy, Runner, Tw
from pushpin_tw.errors import ConfigError

RUNDIR_MOVED = "rundir in [runner] section is deprecated. put in [global]"
_SECTIONS: dict[str, type[Any]] = {
    "global": Global,
    "runner": Runner,
    "proxy": Proxy,
    "handler": Handler,
    "tw": Tw,
}
_TCP = re.compile(r"(tcp://(?:\[[^\]]*\]|[^\[\]:/,]*):)([0-9]{1,5})")
_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was configured, ready for use."""

    global_: Global
    runner: Runner
    proxy: Proxy
    handler: Handler
    tw: Tw
    file: str
    """The path it was read from, as given."""
    directory: str
    """Its directory: what relative paths of routes, keys and certificates start from."""
    instance: int | None
    """The number given with ``--id``."""
    warnings: tuple[str, ...]
    """What an operator should know, one line each."""

    @property
    def file_prefix(self) -> str:
        """What names of pid files and logs begin with."""
        return "" if self.instance is None else f"p{self.instance}-"

    @property
    def routes_path(self) -> str:
        """The routes file; '' when none is configured."""
        name = self.proxy.routesfile
        return os.path.join(self.directory, name) if name else ""

    @property
    def has_listeners(self) -> bool:
        """Whether clients could connect at all."""
        return bool(self.runner.http_port or self.runner.https_ports or self.runner.local_ports)

    def overridden(self, log_level: LogLevels | None = None, listen: Listen | None = None) -> Config:
        """The same with ``--loglevel``, and with ``--port`` in place of all listeners."""
        runner = self.runner
        if log_level is not None:
            runner = dataclasses.replace(runner, log_level=log_level)
        if listen is not None:
            runner = dataclasses.replace(runner, http_port=(listen,), https_ports=(), local_ports=())
        return dataclasses.replace(self, runner=runner)


def parse_config(
    text: str, file: str, read_include: Callable[[str], str], *, instance: int | None = None
) -> Config:
    """Read and check a whole configuration.

    ``read_include`` returns the text of a file or raises OSError, which is no failure.  ``instance`` is the
    number of ``--id``; it decides prefix and port offset.

    :raises ConfigError: with file, line, key and what was expected.
    """
    directory = os.path.dirname(file) or "."
    main = parse_ini(text, file)
    documents = [main, *_included(main, directory, read_include)]
    warnings = [text for document in documents for text in (*document.warnings, *_unknown(document))]
    entries: dict[tuple[str, str], Entry] = {}
    for document in reversed(documents):
        entries.update(document.entries)
    if ("runner", "rundir") in entries and not _scalar(entries, "global", "rundir"):
        warnings.append(RUNDIR_MOVED)
    variables = _Variables(entries, instance)
    handler = _section(Handler, "handler", entries, variables)
    return Config(
        global_=dataclasses.replace(
            _section(Global, "global", entries, variables),
            libdir=variables.libdir,
            rundir=variables.rundir,
            ipc_prefix=variables.ipc_prefix,
            port_offset=variables.port_offset,
        ),
        runner=_section(Runner, "runner", entries, variables),
        proxy=_section(Proxy, "proxy", entries, variables),
        handler=_finished(handler, entries, variables),
        tw=_section(Tw, "tw", entries, variables),
        file=file,
        directory=directory,
        instance=instance,
        warnings=tuple(warnings),
    )


def _included(main: Document, directory: str, read: Callable[[str], str]) -> Iterator[Document]:
    name = _scalar(main.entries, "global", "include")
    if not name:
        return
    libdir = _scalar(main.entries, "global", "libdir") or Global().libdir
    if name == "internal.conf":
        name = "{libdir}/internal.conf"
    path = os.path.join(directory, name.replace("{libdir}", libdir))
    try:
        text = read(path)
    except OSError:
        return  # the original keeps its internal endpoints there; nothing of it is needed
    yield parse_ini(text, path)


def _unknown(document: Document) -> Iterator[str]:
    for section, line in document.sections.items():
        if section not in _SECTIONS:
            yield f"{document.file}:{line}: unknown section [{section}]"
    for entry in document.entries.values():
        if entry.section not in _SECTIONS or entry.key in IGNORED[entry.section]:
            continue
        fields = _kinds(_SECTIONS[entry.section])
        where = f"{entry.file}:{entry.line}: {entry.key}: "
        if entry.key not in fields:
            yield f"{where}unknown key in [{entry.section}]"
        elif entry.is_list and fields[entry.key] in (kinds.text, kinds.line, kinds.flag):
            yield f"{where}a list reads as empty here; write the value in quotes to keep its commas"


def _kinds(section: type[Any]) -> dict[str, kinds.Kind]:
    return {field.name: field.metadata["kind"] for field in dataclasses.fields(section)}


def _scalar(entries: dict[tuple[str, str], Entry], section: str, key: str) -> str:
    entry = entries.get((section, key))
    return entry.scalar if entry is not None else ""


class _Variables:
    """What ``{libdir}``, ``{rundir}`` and ``{ipc_prefix}`` stand for, and the port offset (proxy 2.2)."""

    def __init__(self, entries: dict[tuple[str, str], Entry], instance: int | None) -> None:
        default = Global()
        self.libdir = _scalar(entries, "global", "libdir") or default.libdir
        self.ipc_prefix = _scalar(entries, "global", "ipc_prefix")
        if ("global", "ipc_prefix") not in entries:
            self.ipc_prefix = default.ipc_prefix
        if instance is not None:
            self.ipc_prefix = f"p{instance}-"
        self.rundir = ""
        found = _scalar(entries, "global", "rundir") or _scalar(entries, "runner", "rundir")
        self.rundir = self.expand(found or default.rundir)
        self.port_offset = 0
        offset = entries.get(("global", "port_offset"))
        if offset is not None:
            self.port_offset = _read(offset, kinds.integer(0, 65535), offset.items, default.port_offset)
        if instance:
            self.port_offset = 10 * instance

    def expand(self, value: str) -> str:
        """``value`` with variables replaced, and the offset added to the port of each tcp endpoint."""
        for name in ("libdir", "rundir", "ipc_prefix"):
            value = value.replace("{" + name + "}", getattr(self, name))
        offset = getattr(self, "port_offset", 0)
        return _TCP.sub(lambda found: f"{found[1]}{int(found[2]) + offset}", value) if offset else value


def _section(
    section: type[_Section], name: str, entries: dict[tuple[str, str], Entry], variables: _Variables
) -> _Section:
    values = {}
    for field in dataclasses.fields(section):  # type: ignore[arg-type]
        entry = entries.get((name, field.name))
        if entry is not None:
            items = tuple(variables.expand(item) for item in entry.items)
            values[field.name] = _read(entry, field.metadata["kind"], items, field.default)
    return section(**values)


def _read(entry: Entry, kind: kinds.Kind, items: tuple[str, ...], default: Any) -> Any:
    try:
        return kind(items)
    except kinds.Absent:
        return default
    except ValueError as error:
        raise ConfigError(str(error), entry.file, entry.line, entry.key) from None


def _finished(handler: Handler, entries: dict[tuple[str, str], Entry], variables: _Variables) -> Handler:
    """With the singular form appended to the list, and the offset added to the port."""
    specs = handler.push_in_sub_specs
    if handler.push_in_sub_spec:
        specs += (handler.push_in_sub_spec,)
    port = handler.push_in_http_port
    if port:
        port += variables.port_offset
    if port > 65535:
        entry = entries["handler", "push_in_http_port"]
        message = f"expected a port that is at most 65535 with the offset of {variables.port_offset}"
        raise ConfigError(message, entry.file, entry.line, entry.key)
    return dataclasses.replace(handler, push_in_sub_specs=specs, push_in_http_port=port)

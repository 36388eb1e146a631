"""From the text of pushpin.conf to a ``Config``: includes, variables, defaults, checks (proxy 2).

Called by the command line and by tests.  Checks every value, also of features that are off.  Never opens a
file (whoever calls hands in ``read_include``), never creates a directory, never looks a name up.
"""

from __future__ import annotations

import dataclasses
import os.path
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pushpin_tw.config import kinds
from pushpin_tw.config.ini import Document, Entry, parse_ini
from pushpin_tw.config.listen import Listen
from pushpin_tw.config.loglevel import LogLevels
from pushpin_tw.config.sections import IGNORED, Global, Handler, Proxy, Runner, Tw
from pushpin_tw.errors import ConfigError

SEARCHED = (
    "config/pushpin.conf",
    "pushpin.conf",
    "examples/config/pushpin.conf",
    "/etc/pushpin/pushpin.conf",
)
"""Where programs look for a configuration, in this order, from the working directory."""
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
    places: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """By section and key: ``FILE:LINE`` where it is set."""

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
    config, problems = check_config(text, file, read_include, instance=instance)
    if problems:
        raise problems[0]
    return config


def check_config(
    text: str, file: str, read_include: Callable[[str], str], *, instance: int | None = None
) -> tuple[Config, list[ConfigError]]:
    """The same, but with all wrong values at once; the configuration has defaults in their places.

    :raises ConfigError: what the file says cannot be told apart, because a quote is not closed.
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
    reader = _Reader(entries, instance)
    variables = reader.variables
    config = Config(
        global_=dataclasses.replace(
            reader.section(Global, "global"),
            libdir=variables.libdir,
            rundir=variables.rundir,
            ipc_prefix=variables.ipc_prefix,
            port_offset=variables.port_offset,
        ),
        runner=reader.section(Runner, "runner"),
        proxy=reader.section(Proxy, "proxy"),
        handler=reader.finished(reader.section(Handler, "handler")),
        tw=reader.section(Tw, "tw"),
        file=file,
        directory=directory,
        instance=instance,
        warnings=tuple(warnings),
        places={key: f"{entry.file}:{entry.line}" for key, entry in entries.items()},
    )
    return config, sorted(reader.problems, key=lambda problem: (problem.file != file, problem.line))


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

    def __init__(self, entries: dict[tuple[str, str], Entry], instance: int | None, port_offset: int) -> None:
        default = Global()
        self.port_offset = 0  # paths are expanded below, and have none
        self.libdir = _scalar(entries, "global", "libdir") or default.libdir
        self.ipc_prefix = default.ipc_prefix
        if instance is not None:
            self.ipc_prefix = f"p{instance}-"
        elif ("global", "ipc_prefix") in entries:
            self.ipc_prefix = _scalar(entries, "global", "ipc_prefix")
        self.rundir = ""
        rundir = _scalar(entries, "global", "rundir") or _scalar(entries, "runner", "rundir")
        self.rundir = self.expand(rundir or default.rundir)
        self.port_offset = 10 * instance if instance else port_offset

    def expand(self, value: str) -> str:
        """``value`` with variables replaced, and the offset added to the port of each tcp endpoint."""
        for name in ("libdir", "rundir", "ipc_prefix"):
            value = value.replace("{" + name + "}", getattr(self, name))
        if not self.port_offset:
            return value
        return _TCP.sub(lambda found: f"{found[1]}{int(found[2]) + self.port_offset}", value)


class _Reader:
    """Reads sections and collects what is wrong with them."""

    def __init__(self, entries: dict[tuple[str, str], Entry], instance: int | None) -> None:
        self.problems: list[ConfigError] = []
        self._entries = entries
        field = next(field for field in dataclasses.fields(Global) if field.name == "port_offset")
        entry = entries.get(("global", "port_offset"))
        offset = self._read(entry, field, entry.items) if entry is not None else 0
        self.problems.clear()  # it is read again with its section
        self.variables = _Variables(entries, instance, offset)

    def section(self, section: type[_Section], name: str) -> _Section:
        """All values of a section."""
        values = {}
        for field in dataclasses.fields(section):  # type: ignore[arg-type]
            entry = self._entries.get((name, field.name))
            if entry is not None:
                items = tuple(self.variables.expand(item) for item in entry.items)
                values[field.name] = self._read(entry, field, items)
        return section(**values)

    def _read(self, entry: Entry, field: dataclasses.Field[Any], items: tuple[str, ...]) -> Any:
        try:
            return field.metadata["kind"](items)
        except kinds.Absent:
            return field.default
        except ValueError as error:
            self._refuse(entry, str(error))
            return field.default

    def _refuse(self, entry: Entry, message: str) -> None:
        self.problems.append(ConfigError(message, entry.file, entry.line, entry.key))

    def finished(self, handler: Handler) -> Handler:
        """With the singular form appended to the list, and the offset added to the port."""
        specs = handler.push_in_sub_specs
        if handler.push_in_sub_spec:
            specs += (handler.push_in_sub_spec,)
        port, offset = handler.push_in_http_port, self.variables.port_offset
        if port:
            port += offset
        if port > 65535:
            entry = self._entries["handler", "push_in_http_port"]
            self._refuse(entry, f"expected a port that is at most 65535 with the offset of {offset}")
        return dataclasses.replace(handler, push_in_sub_specs=specs, push_in_http_port=port)

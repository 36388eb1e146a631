"""Keys, types, defaults, variables and includes (proxy 2.1-2.6; cases 10.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from pushpin_tw.config import Config, Listen, LocalListen, LogLevels, check_config, parse_config, parse_listen
from pushpin_tw.config.reading import RUNDIR_MOVED
from pushpin_tw.config.sections import IGNORED, Global, Handler, Proxy, Runner, Tw
from pushpin_tw.errors import ConfigError


def config(text: str, files: Mapping[str, str] | None = None, instance: int | None = None) -> Config:
    def read(path: str) -> str:
        if path not in (files or {}):
            raise FileNotFoundError(path)
        return (files or {})[path]

    return parse_config(text, "conf/pushpin.conf", read, instance=instance)


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return str(caught.value)


def test_nothing_gives_the_defaults() -> None:
    empty = config("")
    assert (empty.global_, empty.runner, empty.proxy) == (Global(), Runner(), Proxy())
    assert (empty.handler, empty.tw, empty.warnings) == (Handler(), Tw(), ())
    assert (empty.file, empty.directory, empty.file_prefix) == ("conf/pushpin.conf", "conf", "")
    assert (empty.routes_path, empty.has_listeners) == ("", False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("cdn_loop=a;b", "a", id="C048"),
        pytest.param('cdn_loop="a,b"', "a,b", id="C049"),
        pytest.param("cdn_loop=a,b", "", id="C050"),
        pytest.param("cdn_loop=a\ncdn_loop=b", "b", id="C051"),
        pytest.param("cdn_loop={ipc_prefix}x\n[global]\nipc_prefix=pb-", "pb-x", id="C052"),
    ],
)
def test_one_value(line: str, expected: str) -> None:
    assert config("[proxy]\n" + line).proxy.cdn_loop == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("no", True), ("1", True), ("off", True), ("0", False), ("False", False), ("", False), ("a,b", False)],
)
def test_c053_booleans(value: str, expected: bool) -> None:
    assert config(f"[proxy]\ndebug={value}").proxy.debug is expected


def test_lists_lose_their_empty_items() -> None:
    assert config("[proxy]\norig_headers_need_mark=A,, B,").proxy.orig_headers_need_mark == ("A", "B")


def test_a_list_in_place_of_a_value_is_reported() -> None:
    (warning,) = config("[proxy]\nsig_iss=a,b").warnings
    assert warning.startswith("conf/pushpin.conf:2: sig_iss: a list reads as empty")


def test_c059_listen_addresses() -> None:
    runner = config("[runner]\nhttp_port=8201,127.0.0.1:8205, [::1]:0").runner
    assert runner.http_port == (Listen("0.0.0.0", 8201), Listen("127.0.0.1", 8205), Listen("::1", 0))
    assert [str(listen) for listen in runner.http_port] == ["0.0.0.0:8201", "127.0.0.1:8205", "[::1]:0"]


def test_c068_local_ports() -> None:
    line = "local_ports=/path/s?mode=606&user=me&group=us,{rundir}/{ipc_prefix}server"
    assert config("[runner]\n" + line).runner.local_ports == (
        LocalListen("/path/s", 0o606, "me", "us"),
        LocalListen("run/pushpin-server"),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("http_port=:8205", "invalid http port: :8205"),
        ("http_port=localhost:8205", "invalid http port: localhost:8205"),
        ("http_port=eighty", "invalid http port: eighty"),
        ("http_port=80,70000", "invalid http port: 70000"),
        ("http_port=::1:80", "invalid http port: ::1:80"),
        ("http_port=[127.0.0.1]:80", "invalid http port: [127.0.0.1]:80"),
        ("https_ports=x:1", "invalid https port: x:1"),
        ("local_ports=/s?mode=8", "invalid local port: /s?mode=8"),
        ("local_ports=?mode=600", "invalid local port: ?mode=600"),
        ("client_maxconn=many", "expected an integer, not 'many'"),
        ("client_maxconn=0", "expected an integer from 1 to 2147483647, not 0"),
        ("client_maxconn=50,000", "expected an integer, not '50,000'"),
        ("log_level=x", "log level must be greater than or equal to 0"),
        ("log_level=2,proxy:", "log level for service proxy must be greater than or equal to 0"),
        ("log_level=2,:1", "log level component name cannot be empty"),
        ("local_ports=/s\\x00", "invalid local port: /s\0"),
    ],
)
def test_wrong_values_of_the_runner(line: str, message: str) -> None:
    assert problem("[runner]\n" + line) == f"conf/pushpin.conf:2: {line.partition('=')[0]}: {message}"


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("global", "port_offset=-1", "expected an integer from 0 to 65535, not -1"),
        ("global", "ipc_prefix=a\\nb", "expected text without control characters"),
        ("proxy", "cdn_loop=a\\r\\nX: y", "expected text without control characters"),
        ("proxy", "ipc_file_mode=rw", "expected permissions in octal digits, not 'rw'"),
        ("proxy", "prometheus_port=x", "invalid prometheus port: x"),
        ("proxy", "prometheus_prefix=a-b", "expected letters, digits, '_' and ':', not 'a-b'"),
        ("handler", "push_in_http_addr=localhost", "expected an IP address, not 'localhost'"),
        ("handler", "push_in_http_port=99999", "expected an integer from 0 to 65535, not 99999"),
        *(
            ("handler", f"{key}={value}", f"expected an endpoint such as tcp://127.0.0.1:5560, not '{value}'")
            for key, value in [
                ("push_in_spec", "5560"),
                ("command_spec", "tcp://127.0.0.1"),
                ("push_in_sub_specs", "x"),
            ]
        ),
        ("tw", "head_timeout=soon", "expected a number of seconds above 0, not 'soon'"),
        ("tw", "silence_timeout=0", "expected a number of seconds above 0, not '0'"),
        ("tw", "drain_seconds=-1", "expected a number of seconds, not '-1'"),
        ("tw", "log_format=xml", "expected text or json, not 'xml'"),
    ],
)
def test_wrong_values_of_the_others(section: str, line: str, message: str) -> None:
    expected = f"conf/pushpin.conf:3: {line.partition('=')[0]}: {message}"
    assert problem(f"[{section}]\n# comment\n{line}") == expected


def test_times_may_have_fractions() -> None:
    assert config("[tw]\nhead_timeout=0.25\norigin_idle_timeout=7").tw == Tw(
        head_timeout=0.25, origin_idle_timeout=7.0
    )


def test_values_that_were_understood() -> None:
    text = "[handler]\nstats_format=json\nprometheus_prefix=my_\n[runner]\nlocal_ports=/s"
    found = config(text)
    assert (found.handler.stats_format, found.handler.prometheus_prefix) == ("json", "my_")
    assert str(found.runner.local_ports[0]) == "/s"


def test_zmq_174_unknown_formats_of_statistics_mean_the_default() -> None:
    assert config("[handler]\nstats_format=xml").handler.stats_format == "tnetstring"


def test_empty_numbers_and_choices_mean_the_default() -> None:
    text = "[handler]\nmessage_rate=\nmessage_wait=\nipc_file_mode=\nstats_format=\n[tw]\nhead_timeout=\n"
    assert (config(text).handler, config(text).tw) == (Handler(), Tw())


def test_an_empty_scalar_is_a_value_where_text_is_expected() -> None:
    assert config("[proxy]\nsig_iss=").proxy.sig_iss == ""
    assert config("[global]\nipc_prefix=\nrundir=").global_ == Global(ipc_prefix="")


def test_permissions_are_octal() -> None:
    assert config("[handler]\nipc_file_mode=666").handler.ipc_file_mode == 0o666
    assert config("[handler]\nipc_file_mode=-1").handler.ipc_file_mode == -1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", "true"), ("True", "true"), ("proto-only", "proto-only"), ("false", ""), ("yes", "")],
)
def test_set_x_forwarded_protocol(value: str, expected: str) -> None:
    assert config(f"[proxy]\nset_x_forwarded_protocol={value}").proxy.set_x_forwarded_protocol == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("9090", Listen("0.0.0.0", 9090)),
        ("[::1]:9090", Listen("::1", 9090)),
        ("ipc://{rundir}/metrics", LocalListen("run/metrics")),
        ("", None),
    ],
)
def test_prometheus_port_knows_no_offset(value: str, expected: object) -> None:
    text = f"[global]\nport_offset=10\n[handler]\nprometheus_port={value}"
    assert config(text).handler.prometheus_port == expected


def test_addresses_lose_their_brackets() -> None:
    assert config("[handler]\npush_in_http_addr=[::1]").handler.push_in_http_addr == "::1"


def test_all_problems_at_once() -> None:
    text = "[tw]\nhold_queue=x\n[runner]\nhttp_port=x,:1\n[global]\nport_offset=x\ninclude=i\n"
    found, problems = check_config(text, "f", lambda path: "[proxy]\nworkers=x")
    assert [(problem.file, problem.line, problem.key) for problem in problems] == [
        ("f", 2, "hold_queue"),
        ("f", 4, "http_port"),
        ("f", 6, "port_offset"),
        ("./i", 2, "workers"),
    ]
    assert (found.tw, found.proxy) == (Tw(), Proxy())


# ---- variables and the port offset -------------------------------------------------------------------------

OFFSET = """
[global]
port_offset=200
rundir={libdir}/run
libdir=/lib
[runner]
http_port=8000
[handler]
push_in_spec=tcp://127.0.0.1:5560
push_in_sub_specs=tcp://*:5562,tcp://[::1]:6000
push_in_sub_spec=ipc://{rundir}/{ipc_prefix}sub
push_in_http_port=5561
"""


def test_the_offset_moves_endpoints_and_the_control_port() -> None:
    moved = config(OFFSET)
    assert moved.runner.http_port == (Listen("0.0.0.0", 8000),)
    assert moved.handler.push_in_spec == "tcp://127.0.0.1:5760"
    assert moved.handler.push_in_sub_specs == (
        "tcp://*:5762",
        "tcp://[::1]:6200",
        "ipc:///lib/run/pushpin-sub",
    )
    assert moved.handler.push_in_http_port == 5761


def test_c055_an_instance_has_an_offset_and_prefixes() -> None:
    second = config(OFFSET, instance=2)
    assert (second.handler.push_in_http_port, second.global_.port_offset) == (5581, 20)
    assert (second.file_prefix, second.global_.ipc_prefix, second.instance) == ("p2-", "p2-", 2)
    assert second.handler.push_in_sub_specs[2] == "ipc:///lib/run/p2-sub"


def test_c056_instance_0_keeps_the_offset() -> None:
    first = config(OFFSET, instance=0)
    assert (first.handler.push_in_http_port, first.file_prefix) == (5761, "p0-")


def test_a_control_port_that_is_off_stays_off() -> None:
    assert config("[global]\nport_offset=5\n[handler]\npush_in_http_port=0").handler.push_in_http_port == 0


def test_an_offset_must_leave_a_port() -> None:
    text = "[global]\nport_offset=60000\n[handler]\npush_in_http_port=5561"
    assert problem(text).endswith(
        "4: push_in_http_port: expected a port that is at most 65535 with the offset of 60000"
    )


def test_rundir_in_the_old_place() -> None:
    old = config("[runner]\nrundir=/old")
    assert (old.global_.rundir, old.warnings) == ("/old", (RUNDIR_MOVED,))
    both = config("[runner]\nrundir=/old\n[global]\nrundir=/new")
    assert (both.global_.rundir, both.warnings) == ("/new", ())


# ---- includes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("more.conf", "conf/more.conf"),
        ("/etc/more.conf", "/etc/more.conf"),
        ("internal.conf", "/lib/internal.conf"),
        ("{libdir}/internal.conf", "/lib/internal.conf"),
    ],
)
def test_an_include_supplies_what_is_missing(name: str, path: str) -> None:
    included = "[proxy]\nsig_iss=theirs\ncdn_loop=theirs\n[global]\ninclude=nested.conf\n"
    text = f"[global]\nlibdir=/lib\ninclude={name}\n[proxy]\nsig_iss=\n"
    found = config(text, {path: included, "conf/nested.conf": "[handler]\nmessage_rate=1"})
    assert (found.proxy.sig_iss, found.proxy.cdn_loop, found.handler.message_rate) == ("", "theirs", -1)


def test_a_missing_include_is_no_failure() -> None:
    assert config("[global]\ninclude=none.conf").warnings == ()


def test_errors_and_warnings_name_the_included_file() -> None:
    text = "[global]\ninclude=more.conf"
    assert config(text, {"conf/more.conf": "[proxy]\nnone=1"}).warnings == (
        "conf/more.conf:2: none: unknown key in [proxy]",
    )
    with pytest.raises(ConfigError) as caught:
        config(text, {"conf/more.conf": "[proxy]\nworkers=x"})
    assert (caught.value.file, caught.value.line, caught.value.key) == ("conf/more.conf", 2, "workers")


# ---- keys --------------------------------------------------------------------------------------------------


def test_unknown_keys_and_sections_are_reported_once() -> None:
    text = "[proxy]\nDebug=1\nDebug=2\n[zoo]\nlion=1\ntiger=2\n[zoo]\n"
    assert config(text).warnings == (
        "conf/pushpin.conf:4: unknown section [zoo]",
        "conf/pushpin.conf:3: Debug: unknown key in [proxy]",
    )


def test_internal_keys_of_the_original_are_accepted() -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{key}=x,y\n" for key in keys) for section, keys in IGNORED.items()
    )
    assert config(text).warnings == ()
    assert {"connmgr_client_out_stream_specs", "condure_in_specs", "updates_check"} <= IGNORED["proxy"]


@pytest.mark.parametrize("section", [Global, Runner, Proxy, Handler, Tw])
def test_no_key_is_both_known_and_ignored(section: type) -> None:
    names = {field.name for field in dataclasses.fields(section)}
    assert not names & IGNORED[section.__name__.lower()]


def test_keys_that_sign_are_not_shown() -> None:
    assert "geheim" not in repr(config("[proxy]\nsig_key=geheim1\nupstream_key=geheim2"))


# ---- overrides ---------------------------------------------------------------------------------------------


def test_c054_a_port_of_the_command_line_replaces_all_listeners() -> None:
    text = "[runner]\nhttp_port=1\nhttps_ports=2\nlocal_ports=/s"
    changed = config(text).overridden(LogLevels(1), parse_listen("8206"))
    assert changed.runner.http_port == (Listen("0.0.0.0", 8206),)
    assert (changed.runner.https_ports, changed.runner.local_ports) == ((), ())
    assert changed.runner.log_level.of("proxy") == 1


def test_without_overrides_nothing_changes() -> None:
    found = config("[runner]\nhttps_ports=2")
    assert found.overridden() == found


def test_c058_no_listeners() -> None:
    assert not config("[runner]\nhttp_port=").has_listeners
    assert config("[runner]\nlocal_ports=/s").has_listeners


def test_routes_are_found_from_the_configuration_file() -> None:
    assert config("[proxy]\nroutesfile=routes").routes_path == "conf/routes"
    assert config("[proxy]\nroutesfile=/r").routes_path == "/r"


def test_log_levels_of_services() -> None:
    levels = config("[runner]\nlog_level=1,proxy:3,pushpin-handler:0,condure:2").runner.log_level
    assert [levels.of(name) for name in ("runner", "proxy", "handler", "connmgr")] == [1, 3, 0, 2]

"""What both commands need around the proxy: configuration, directories, logs, pid files (proxy 3.2)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.python.usage import UsageError

from pushpin_tw import process
from pushpin_tw.command import check
from pushpin_tw.config import Config, Listen, LogLevels
from pushpin_tw.errors import ConfigError
from pushpin_tw.options import Settings
from pushpin_tw.process import (
    SEARCHED,
    PidFiles,
    find_config,
    load_config,
    make_directories,
    make_logs,
    twistd_program,
)
from pushpin_tw.stats.logfile import Output


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "pushpin.conf") -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    return name


def loaded(text: str, settings: Settings | None = None) -> Config:
    config, problems = load_config(
        written("[runner]\nhttp_port=127.0.0.1:0\n" + text), settings or Settings()
    )
    assert problems == []
    return config


# ---- the configuration -------------------------------------------------------------------------------------


def test_the_configuration_is_looked_for() -> None:
    for name in reversed(SEARCHED[:2]):
        written("", name)
        assert find_config() == name


def test_there_may_be_none(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SEARCHED", SEARCHED[:2])
    with pytest.raises(ConfigError) as caught:
        find_config()
    tried = f"{directory}/config/pushpin.conf {directory}/pushpin.conf"
    assert str(caught.value) == f"no configuration file found. Tried: {tried}"


def test_options_override_the_file() -> None:
    settings = Settings(log_levels=LogLevels(1), listen=Listen("::1", 8206), instance=2)
    config = loaded("https_ports=1\nlog_level=3\n", settings)
    assert config.runner.http_port == (Listen("::1", 8206),)
    assert (config.runner.https_ports, config.runner.log_level.default) == ((), 1)
    assert config.file_prefix == "p2-"


def test_c058_no_listeners() -> None:
    _, problems = load_config(written("[runner]\nhttp_port=\n"), Settings())
    assert [str(problem) for problem in problems] == ["pushpin.conf: no server ports configured"]


def test_a_configuration_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("none.conf", Settings())
    assert str(caught.value) == "none.conf: cannot be read: No such file or directory"


def test_includes_are_read() -> None:
    written("[proxy]\ncdn_loop=é\n", "more.conf")
    assert loaded("[global]\ninclude=more.conf\n").proxy.cdn_loop == "é"


def test_twistd_is_told_what_is_wrong() -> None:
    with pytest.raises(UsageError) as caught:
        twistd_program(Settings(config=written("[tw]\nhold_queue=x\nwrite_buffer=y\n")), {})
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(UsageError):
        twistd_program(Settings(config="none.conf"), {})


# ---- --check-config ----------------------------------------------------------------------------------------


def test_a_good_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    written("* test\na.example localhost:1\n", "routes")
    path = written("[runner]\nhttp_port=8000\nhttp_prt=1\n[proxy]\nroutesfile=routes\n")
    assert check(Settings(config=path)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "warning: pushpin.conf:3: http_prt: unknown key in [runner]",
        "pushpin.conf: good",
        "./routes: good, 2 routes",
    ]


def test_every_problem_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    written("* test\n* localhost:x\n\na\n", "routes")
    path = written(
        "[runner]\nhttp_port=:1\n[proxy]\nroutesfile=routes\nsig_key=file:none\nlog_from=1\n[tw]\nhold_queue=x\n"
    )
    assert check(Settings(config=path)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        "pushpin.conf:2: http_port: invalid http port: :1",
        "pushpin.conf:8: hold_queue: expected an integer, not 'x'",
        "pushpin.conf: sig_key: there is no key that can be used",
    ]
    assert [line.split()[0] for line in said[3:]] == ["./routes:2:", "./routes:4:"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(config="none.conf"), "none.conf: cannot be read: No such file or directory"),
        (Settings(), "unable to open routes file: ./none"),
        (Settings(routes=("* test", "a")), "<route>:1: must specify condition and at least one target"),
    ],
)
def test_what_cannot_be_opened(capsys: pytest.CaptureFixture[str], settings: Settings, expected: str) -> None:
    written("[runner]\nhttp_port=8000\n[proxy]\nroutesfile=none\n")
    assert check(settings) == 1
    assert capsys.readouterr().out.splitlines() == [expected]


def test_routes_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    written("[runner]\nhttp_port=8000\n[proxy]\nroutesfile=none\nsig_key=secret\n")
    assert check(Settings(routes=("* test",))) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "<route>: good, 1 routes"


# ---- directories, logs, pid files --------------------------------------------------------------------------


def test_directories_are_made() -> None:
    config = loaded("logdir=a/log\n[global]\nrundir=a/run\n")
    make_directories(config, Settings(merge_output=True))
    assert (Path("a/run").is_dir(), Path("a/log").exists()) == (True, False)
    make_directories(config, Settings())
    assert Path("a/log").is_dir()


def test_a_directory_that_cannot_be_made() -> None:
    Path("file").touch()
    with pytest.raises(ConfigError) as caught:
        make_directories(loaded("logdir=file/log\n"), Settings())
    assert str(caught.value) == "failed to create directory: file/log"


def test_logs_of_components() -> None:
    settings = Settings(instance=3)
    config = loaded("log_level=2,handler:1\n", settings)
    logs = make_logs(config, settings, Output("own", Clock()), Clock())
    for service, voice in logs.voices.items():
        voice.write(2, f"from {service}")
    logs.close()
    files = {path.name: path.read_text() for path in Path().iterdir() if path.name != "pushpin.conf"}
    assert {name: text[31:] for name, text in files.items() if text} == {
        "own": "from runner\n",
        "p3-connmgr.log": "from connmgr\n",
        "p3-pushpin-proxy.log": "from proxy\n",
    }


@pytest.mark.parametrize("json_format", [False, True])
def test_merged_logs(json_format: bool) -> None:
    settings = Settings(merge_output=True)
    config = loaded("[tw]\nlog_format=json\n" if json_format else "", settings)
    logs = make_logs(config, settings, Output("own", Clock()), Clock())
    for service, voice in logs.voices.items():
        voice.write(2, f"from {service}")
    logs.close()
    lines = Path("own").read_text().splitlines()
    if json_format:
        assert [json.loads(line)["service"] for line in lines] == ["connmgr", "proxy", "handler", "runner"]
    else:
        assert [line.split(" ", 3)[3] for line in lines] == [
            "[connmgr] from connmgr",
            "[proxy] from proxy",
            "[handler] from handler",
            "from runner",
        ]


def test_pid_files() -> None:
    config = loaded("[global]\nrundir=run\n", Settings(instance=2))
    Path("run").mkdir()
    names = ["p2-connmgr.pid", "p2-pushpin-handler.pid", "p2-pushpin-proxy.pid"]
    files = PidFiles(config)
    files.startService()
    assert sorted(os.listdir("run")) == names
    assert {Path("run", name).read_text() for name in names} == {f"{os.getpid()}\n"}
    Path("run", names[0]).write_text("1\n")
    Path("run", names[1]).unlink()
    files.stopService()
    assert os.listdir("run") == [names[0]]


def test_pid_files_that_cannot_be_written() -> None:
    with pytest.raises(ConfigError) as caught:
        PidFiles(loaded("[global]\nrundir=none\n")).startService()
    assert str(caught.value) == "failed to write none/connmgr.pid: No such file or directory"

"""Options of both commands (proxy 3.1, C060)."""

from __future__ import annotations

import pytest
from twisted.python.usage import UsageError

from pushpin_tw.command import main
from pushpin_tw.config import Listen, LogLevels
from pushpin_tw.options import Options, Settings, parse_arguments, usage

WRONG = [
    (["--foo"], "Unknown option 'foo'."),
    (["-foo"], "Unknown option 'foo'."),
    (["--c=x"], "Unknown option 'c'."),
    (["--id=-1"], "id must be greater than or equal to 0"),
    (["--id", "-1"], "id must be greater than or equal to 0"),
    (["--id=x"], "id must be greater than or equal to 0"),
    (["--id=99999"], "id must be greater than or equal to 0"),
    (["--port=0"], "port must be greater than or equal to 1"),
    (["--port=abc"], "port must be greater than or equal to 1"),
    (["--port="], "port must be greater than or equal to 1"),
    (["--port=localhost:80"], "invalid http port: localhost:80"),
    (["--port=:80"], "invalid http port: :80"),
    (["--port=123456789"], "invalid http port: 123456789"),
    (["--loglevel=x"], "log level must be greater than or equal to 0"),
    (["--loglevel=2,"], "log level component cannot be empty"),
    (["--loglevel=:2"], "log level component name cannot be empty"),
    (["--loglevel=proxy:x"], "log level for service proxy must be greater than or equal to 0"),
    (["--config"], "Missing value after '--config'."),
    (["--verbose=3"], "Unexpected value after '--verbose'."),
]


@pytest.mark.parametrize(("argv", "text"), WRONG)
def test_c060_wrong_options(capsys: pytest.CaptureFixture[str], argv: list[str], text: str) -> None:
    assert main(argv) == 1
    said = capsys.readouterr()
    assert said.err == f"error: {text}\n\n"
    assert said.out.startswith("Usage: pushpin [options]\n")


@pytest.mark.parametrize("option", ["-v", "-V", "--version", "-version"])
def test_version(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main([option]) == 0
    assert capsys.readouterr() == ("pushpin 1.41.0\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main([option]) == 0
    assert capsys.readouterr() == (usage() + "\n", "")


def test_help_names_every_option() -> None:
    for name in ("config <file>", "loglevel <x>", "port <[addr:]port>", "merge-output", "check-config"):
        assert f"--{name}" in usage()


@pytest.mark.parametrize(
    "argv",
    [
        [
            "--config=c",
            "--logfile=l",
            "--loglevel=1,proxy:3",
            "--merge-output",
            "--port=[::1]:8206",
            "--id=2",
        ],
        [
            "-c",
            "c",
            "-logfile",
            "l",
            "-loglevel=1,proxy:3",
            "-m",
            "-port",
            "[::1]:8206",
            "ignored",
            "-id",
            "2",
        ],
        ["--id=7", "--id=2", "-c=c", "--logfile", "l", "--loglevel", "1,proxy:3", "-m", "--port=[::1]:8206"],
    ],
)
def test_all_ways_to_say_it(argv: list[str]) -> None:
    expected = Settings(
        config="c",
        logfile="l",
        log_levels=LogLevels(1, (("proxy", 3),)),
        merge_output=True,
        listen=Listen("::1", 8206),
        instance=2,
    )
    assert parse_arguments(argv) == expected


def test_routes_add_up() -> None:
    assert parse_arguments(["--route=* test", "--route", "a B"]).routes == ("* test", "a B")
    assert parse_arguments([]).routes is None


def test_verbose_wins() -> None:
    assert parse_arguments(["--verbose", "--loglevel=0"]).log_levels == LogLevels(3)


def test_nothing_counts_behind_two_dashes() -> None:
    assert parse_arguments(["-", "--", "--foo"]) == Settings()


# ---- twistd pushpin ----------------------------------------------------------------------------------------


def test_twistd_takes_the_same_options() -> None:
    options = Options()
    options.parseOptions(["-c", "c", "--port=8206", "-m", "--route", "* test", "--route=a B", "--id=0"])
    assert options.settings == Settings(
        config="c", listen=Listen("0.0.0.0", 8206), merge_output=True, routes=("* test", "a B"), instance=0
    )


@pytest.mark.parametrize("argv", [["--port=0"], ["--foo"], ["--loglevel=x"]])
def test_twistd_is_told_what_is_wrong(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        Options().parseOptions(argv)

"""The files of ``deploy/`` that no engine runs here: schemas, and what can be said of them besides."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from omega_ai import __version__
from omega_ai.cli.configuration import variable_of
from omega_ai.cli.options import options_of
from omega_ai.cli.serve import settings_of
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.feed_server import FeedProcess

DEPLOY = ROOT / "deploy"
INSTRUCTIONS = {
    *("FROM", "WORKDIR", "RUN", "COPY", "LABEL", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL"),
    *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
}
ADJUSTED_EXPOSURE = 20
"""What ``systemd-analyze security`` may say at most, in tenths: 100 is no hardening at all."""


def variables() -> set[str]:
    """Every environment variable that ``omega serve`` reads."""
    return {variable_of(option.name) for option in options_of("serve")}


def parse_serve(arguments: list[str], environment: dict[str, str]) -> None:
    """Have ``omega serve`` read options and variables; fails as the command would."""
    from cyclopts import App, Parameter

    from omega_ai.cli import serve
    from omega_ai.cli.configuration import Configuration

    app = App(
        name="omega serve",
        default_parameter=Parameter(negative_iterable=(), negative_bool="no-"),
        config=Configuration("serve", environment),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    app.default(serve.serve)
    _, bound, _ = app.parse_args(arguments, print_error=False, exit_on_error=False)
    options = {name: value for name, value in bound.arguments.items() if name != "config"}
    settings_of(serve_defaults() | options)


def serve_defaults() -> dict[str, Any]:
    """The options of ``omega serve`` that nobody gave."""
    return {
        option.parameter.name: option.parameter.default
        for option in options_of("serve")
        if option.name != "config"
    }


# ------------------------------------------------------------------ container


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, continuation lines joined."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


def test_the_container_is_small_rootless_and_what_it_copies_exists() -> None:
    """Two stages, a numeric user, nothing fetched by address, nothing copied that is not there."""
    parts = instructions()
    assert {name for name, _ in parts} <= INSTRUCTIONS
    stages = [rest for name, rest in parts if name == "FROM"]
    assert len(stages) == 2
    assert all(re.fullmatch(r"\S+/python:3\.1[1-9]-slim-\w+( AS build)?", stage) for stage in stages)
    last = parts[[name for name, _ in parts].index("FROM", 1) :]
    users = [rest for name, rest in last if name == "USER"]
    assert users == ["10001:10001"]
    for name, rest in parts:
        if name == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            assert [source for source in sources if not (ROOT / source).exists()] == []
        assert "http://" not in rest.replace("http://127.0.0.1", "")
        assert "https://" not in rest
    assert not [rest for name, rest in last if name == "RUN" and "pip" in rest], "pip is for the first stage"


def test_variables_of_the_container_are_settings_and_its_command_is_one() -> None:
    """Each ``OMEGA_`` variable is read by ``omega serve``, together with the default command."""
    parts = instructions()
    given = dict(item.split("=", 1) for name, rest in parts if name == "ENV" for item in shlex.split(rest))
    ours = {name: value for name, value in given.items() if name.startswith("OMEGA_")}
    assert ours.keys() <= variables()
    (entry,) = (json.loads(rest) for name, rest in parts if name == "ENTRYPOINT")
    (command,) = (json.loads(rest) for name, rest in parts if name == "CMD")
    assert [*entry, *command] == ["omega", "serve"]
    parse_serve(command[1:], ours)


def test_the_health_check_passes_on_a_feed_and_fails_without(tmp_path: Path) -> None:
    """The very program of the Containerfile, but for the port."""
    (check,) = (rest for name, rest in instructions() if name == "HEALTHCHECK")
    program = json.loads(check.partition("CMD ")[2])
    assert program[:2] == ["python", "-c"]
    with FeedProcess(
        tmp_path,
        *("--port", "0", "--tls-port", "off", "--http-port", "0", "--broker", "memory", "--source", "none"),
        environment={"HOME": str(tmp_path)},
    ) as feed:
        code = program[2].replace("http://127.0.0.1:8767", str(feed.at.http).rstrip("/"))
        assert code != program[2]
        exec(code, {})  # raises if it does not answer 200
    with pytest.raises(OSError, match="refused"):
        exec(code, {})


# ------------------------------------------------------------------ compose


def compose() -> dict[str, Any]:
    """The compose file."""
    yaml = pytest.importorskip("yaml", reason="comes with make check")
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def test_compose_follows_its_schema() -> None:
    """The Compose Specification's own."""
    jsonschema = pytest.importorskip("jsonschema")
    carrier = pytest.importorskip("check_jsonschema", reason="comes with make check")
    schema = resources.files(carrier).joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    validator = jsonschema.validators.validator_for(json.loads(schema))(json.loads(schema))
    assert [error.message for error in validator.iter_errors(compose())] == []
    wrong = compose()
    wrong["services"]["edge"]["prots"] = ["1:1"]
    assert list(validator.iter_errors(wrong)), "the schema would let anything pass"


def test_services_of_compose_are_started_with_options_that_there_are() -> None:
    """Commands, variables, mounted files, and nothing published beyond this machine."""
    services = compose()["services"]
    for name in ("ingest", "edge"):
        command, environment = services[name]["command"], services[name]["environment"]
        assert command[0] == "serve"
        assert {key for key in environment if key.startswith("OMEGA_")} <= variables()
        parse_serve(command[1:], environment)
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).is_file(), source


def test_prometheus_scrapes_what_compose_starts() -> None:
    """Targets are services, and the rules are mounted where they are looked for."""
    yaml = pytest.importorskip("yaml", reason="comes with make check")
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    services = compose()["services"]
    (job,) = config["scrape_configs"]
    targets = [target for group in job["static_configs"] for target in group["targets"]]
    assert {target.partition(":")[0] for target in targets} <= services.keys()
    mounted = {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    assert set(config["rule_files"]) <= mounted


# ------------------------------------------------------------------ systemd


def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists here in place of the installed one."""
    program = tmp_path / "omega"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (DEPLOY / "systemd" / "omega-feed.service").read_text()
    assert "/opt/omega/bin/omega serve" in text
    path = tmp_path / "omega-feed.service"
    path.write_text(text.replace("/opt/omega/bin/omega serve", f"{program} serve"))
    return path


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Every directive and value; a misspelt one is told."""
    path = unit(tmp_path)
    assert analyze("verify", str(path)) == ""
    path.write_text(path.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "ProtectHoem" in analyze("verify", str(path))


@needs_systemd
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """``systemd-analyze security`` finds little that an attacker of the service could use."""
    said = analyze("security", "--offline=true", f"--threshold={ADJUSTED_EXPOSURE}", str(unit(tmp_path)))
    found = re.search(r"exposure level for omega-feed.service: ([0-9.]+)", said)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot judge a file: {said[-200:]}")
    assert float(found[1]) * 10 <= ADJUSTED_EXPOSURE


def analyze(*arguments: str) -> str:
    """What ``systemd-analyze`` says."""
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_the_unit_waits_longer_than_clients_take_to_leave() -> None:
    """``TimeoutStopSec`` exceeds what omega.toml lets the feed use."""
    text = (DEPLOY / "systemd" / "omega-feed.service").read_text()
    patience = int(re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[0])
    serve = tomllib.loads((DEPLOY / "omega.toml").read_text())["serve"]
    assert patience > serve["drain-seconds"] + serve.get("close-timeout", 2.0) + 10


# ------------------------------------------------------------------ omega.toml


def test_the_example_file_is_read(tmp_path: Path) -> None:
    """As it stands, and with every line in comments taken in; each default that it names is the default."""
    text = (DEPLOY / "omega.toml").read_text()
    parse_serve(["--config", str(DEPLOY / "omega.toml")], {})
    commented = re.findall(r"^# ([a-z][a-z-]+) = (.+)$", text, re.MULTILINE)
    defaults = {
        option.name: option.parameter.default for option in options_of("serve") if option.name != "config"
    }
    given = tomllib.loads(text)["serve"]
    assert {name for name, _ in commented} | given.keys() == defaults.keys() - {"seed"}
    for name, value in commented:
        default = defaults[name]
        if default not in (None, (), False) or value == "false":
            assert tomllib.loads(f"x = {value}")["x"] == default, name
    whole = tmp_path / "omega.toml"
    exclusive = ("token-public-key", "token-jwks", "require-token", "role")
    uncommented = re.sub(r"^# ([a-z][a-z-]+ = )", r"\1", text, flags=re.MULTILINE)
    kept = [line for line in uncommented.splitlines() if line.partition(" = ")[0] not in exclusive]
    whole.write_text("\n".join(kept))
    parse_serve(["--config", str(whole)], {})


def test_the_image_of_the_manifests_is_of_this_version() -> None:
    """The release whose manifests these are, without what marks a version before it."""
    release = re.sub(r"\.dev\d+$", "", __version__)
    texts = "".join(path.read_text() for path in (DEPLOY / "kubernetes").glob("*.yaml"))
    assert set(re.findall(r"image: omega-btc-ai:(\S+)", texts)) == {release}


def test_files_that_documents_name_exist() -> None:
    """``deploy/...`` in the files' own instructions."""
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            for name in re.findall(r"\bdeploy/[\w./-]+", path.read_text()):
                assert (ROOT / name.rstrip(".")).exists(), f"{path.name}: {name}"

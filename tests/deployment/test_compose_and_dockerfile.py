"""What docker-compose.yml and the Dockerfile say is true of the code, and safe."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from celery.app.utils import find_app

from celeryconfig import QUEUES
from cli.main import COMMANDS
from cli.relay import PORT
from cli.run_steps import Place, steps
from devstack.folder import DataFolder
from web.relay import HEALTH_PATH
from worker.debits.reader import STOP_S
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: Instructions of the image that is kept: what follows the last FROM.
IMAGE = DOCKERFILE.rpartition("\nFROM ")[2].replace("\\\n", " ").splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Variables that are no setting of ours, and who reads them.
OTHERS_VARIABLES = {
    "DATABASE_URL": "settings, without our prefix",
    "REDIS_URL": "settings, without our prefix",
    "BILLING_ALIVE_DIR": "worker.alive",
    "FLOWER_BASIC_AUTH": "Flower",
    "POSTGRES_USER": "the image of Postgres",
    "POSTGRES_PASSWORD": "the image of Postgres",
    "POSTGRES_DB": "the image of Postgres",
    "REDISCLI_AUTH": "redis-cli",
    "PATH": "every program",
    "PYTHONUNBUFFERED": "Python",
}
SECRETS = {"BILLING_LEDGER_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH"}


def each(services):
    return [pytest.param(service, id=name) for name, service in services.items()]


def celery_commands():
    commands = {name: s["command"] for name, s in OURS.items()}
    return {name: command for name, command in commands.items() if command[0] == "celery"}


def workers():
    return {name: c for name, c in celery_commands().items() if c[3] == "worker"}


def option(command, name):
    return command[command.index(name) + 1]


def variables_asked_of_env():
    """Name -> the message that stops Compose if it is not set, or None if it may be missing."""
    text = re.sub(r"^\s*#.*", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    return {
        name: message or None for name, message in re.findall(r"\$\{(\w+)(?::\?([^}]+))?", text)
    }


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


# --- against the code -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [pytest.param(c, id=n) for n, c in celery_commands().items()])
def test_every_celery_command_names_an_app_that_is_there(command):
    app = find_app(option(command, "-A"))

    assert app.main == "billing"


def test_the_queues_that_are_read_are_those_that_there_are():
    read = [queue for c in workers().values() for queue in option(c, "-Q").split(",")]

    assert sorted(read) == sorted(QUEUES)


def test_the_debit_queue_is_read_by_a_pool_that_does_not_fork():
    (command,) = [c for c in workers().values() if "debits" in option(c, "-Q").split(",")]

    assert option(command, "--pool") == "solo"


@pytest.mark.parametrize("service", each(SERVICES))
def test_every_variable_that_is_set_is_read_by_something(service):
    settings = {f"BILLING_{field.upper()}" for field in Settings.model_fields}

    assert set(service.get("environment", {})) <= settings | set(OTHERS_VARIABLES)


def test_the_images_variables_are_read_by_something():
    settings = {f"BILLING_{field.upper()}" for field in Settings.model_fields}
    (line,) = [line for line in IMAGE if line.startswith("ENV ")]

    assert {word.split("=")[0] for word in shlex.split(line)[1:]} <= settings | set(
        OTHERS_VARIABLES
    )


@pytest.mark.parametrize("service", each(OURS))
def test_every_billing_command_is_there(service):
    commands = [service["command"], service.get("healthcheck", {}).get("test", ["CMD"])[1:]]

    for command in commands:
        assert command[:1] != ["billing"] or command[1] in COMMANDS


def test_flower_shows_what_it_shows_under_billing_run(tmp_path):
    place = Place(DataFolder(tmp_path), {"REDIS_URL": "redis://127.0.0.1:1/0"}, 5555)
    (flower,) = [step.command.argv for step in steps(place) if step.command.name == "flower"]

    ours = [word.replace("127.0.0.1", "0.0.0.0") for word in flower[2:]]
    assert SERVICES["flower"]["command"] == ours


@pytest.mark.parametrize("name", workers())
def test_a_workers_health_is_asked_by_the_name_that_it_has(name):
    node = option(workers()[name], "-n")

    assert node == f"{name}@%h"
    assert OURS[name]["healthcheck"]["test"] == ["CMD", "billing", "alive", name]


@pytest.mark.parametrize("service", each(OURS))
def test_a_service_is_killed_only_after_its_own_time_to_stop(service):
    soft_shutdown_s = Settings.model_fields["soft_shutdown_s"].default

    assert seconds(service["stop_grace_period"]) > soft_shutdown_s + STOP_S


def test_everything_waits_for_the_migration_and_the_migration_for_postgres():
    waiting = {name for name in OURS if "migrate" in OURS[name]["depends_on"]}

    assert waiting == set(OURS) - {"migrate"}
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_image_holds_every_package_of_the_project():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    copied = {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")}

    assert packages <= copied
    assert packages <= {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines()}


def test_the_image_holds_nothing_that_only_tests_need():
    extras = PROJECT["optional-dependencies"]
    wanted = {re.match(r"[\w-]+", line)[0] for extra in extras.values() for line in extra}
    uninstalled = set(re.findall(r'"([\w-]+)"', DOCKERFILE.partition("# One lock")[2]))

    assert wanted <= uninstalled
    assert not {re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]} & uninstalled


# --- safety ---------------------------------------------------------------------------------------


def test_no_secret_stands_in_the_file():
    asked = variables_asked_of_env()

    assert all(asked[name] for name in SECRETS), "Compose must refuse to start without them"
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|SECRET|TOKEN|KEY", name):
                assert re.fullmatch(r"\$\{\w+:(\?[^}]+|-)\}", value), name
            assert not re.search(r"://[^/$]*:[^$@/]+@", str(value)), f"{name} holds a password"


def test_the_example_of_env_names_what_is_asked_and_holds_no_secret():
    text = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))

    assert set(named) == set(variables_asked_of_env())
    assert {name for name in named if not named[name]} == SECRETS


def test_the_image_runs_as_a_user_without_rights():
    (user,) = [line.split()[1] for line in IMAGE if line.startswith("USER ")]

    assert re.fullmatch(r"(\d+):(\d+)", user)
    assert not user.startswith("0:")


@pytest.mark.parametrize("service", each(OURS))
def test_our_services_can_write_nowhere_but_where_they_must(service):
    assert "user" not in service
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/run/billing" in service["tmpfs"]


@pytest.mark.parametrize("service", each(SERVICES))
def test_signals_reach_the_program_itself(service):
    """A command in shell form would leave SIGTERM with the shell."""
    assert service["init"] is True
    assert isinstance(service.get("command", []), list)
    assert service.get("healthcheck", {}).get("test", ["CMD"])[0] == "CMD"


def test_the_image_runs_no_shell():
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction in {"RUN", "CMD", "ENTRYPOINT"}:
            assert isinstance(json.loads(rest), list)


def test_redis_forgets_nothing_and_lets_in_nobody_without_the_password():
    command = SERVICES["redis"]["command"]

    assert option(command, "--appendonly") == "yes"
    assert option(command, "--maxmemory-policy") == "noeviction"
    assert option(command, "--requirepass").startswith("${REDIS_PASSWORD:?")


def test_only_flower_and_the_relay_are_reached_from_outside_and_only_from_this_machine():
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}

    assert published == {"flower": ["127.0.0.1:5555:5555"], "relay": ["127.0.0.1:4242:4242"]}
    assert COMPOSE["networks"]["billing"]["internal"] is True
    assert {name for name, s in SERVICES.items() if s["networks"] == ["billing"]} == {
        "postgres",
        "redis",
    }


def test_the_relay_listens_where_its_port_and_its_health_check_lead_to():
    relay = SERVICES["relay"]
    port = option(relay["command"], "--port")

    assert port == str(PORT)
    assert relay["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}{HEALTH_PATH}" in relay["healthcheck"]["test"][-1]


def test_the_relay_starts_only_where_stripe_is_wanted():
    """Without a secret it would end at once, and be started again for ever."""
    assert SERVICES["relay"]["profiles"] == ["stripe"]
    assert not [name for name, s in SERVICES.items() if "profiles" in s and name != "relay"]


def test_flower_asks_for_a_password_and_can_do_nothing():
    assert "--read_only=True" in SERVICES["flower"]["command"]
    assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith(
        "${FLOWER_BASIC_AUTH:?"
    )


@pytest.mark.parametrize("service", each({n: s for n, s in SERVICES.items() if n != "migrate"}))
def test_what_falls_over_comes_back(service):
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["postgres", "redis", "worker", "debits", "relay", "flower"])
def test_what_can_tell_whether_it_is_well_is_asked(name):
    assert SERVICES[name]["healthcheck"]["test"]

"""Message brokers: found, fetched and started as databases are.

An address in the environment comes first (``SIGNALBUS_TEST_RABBITMQ_URL`` and so on),
then a program that is installed, then Debian's packages. A broker that is started here
is private: it listens on loopback, has a password, and can be stopped and killed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servers import account
from servers.errors import ServerUnavailable
from servers.greetings import lets_us_in
from servers.installations import Installation
from servers.kinds import LOOPBACK, Software
from servers.private import HOME_PREFIX, claim, free_port, sweep
from servers.provision import Say
from servers.resolution import installation_for

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_LOG_LINES = 40


@dataclass(frozen=True, kw_only=True)
class BrokerKind(Software):
    """One kind of broker.

    Texts in braces are filled in when it is started: ``{home}``, ``{data}``,
    ``{password}``, ``{port}``, ``{port_2}`` and ``{port_3}``, ``{path}``, and the names
    of :attr:`programs`.
    """

    url_is_of: str = "a broker that tests may write to"
    url: str
    #: Read by the program from its home folder.
    configuration: str
    serve: tuple[str, ...]
    #: What must run beside it, and die with it.
    companion: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


_RABBITMQ = BrokerKind(
    name="rabbitmq",
    version_pattern=r"rabbitmq_server-(\d+\.\d+\.\d+)",
    has_version_in_path=True,
    programs=("rabbitmq-server",),
    helpers=("erl", "epmd"),
    # The program on PATH is a wrapper, which changes to an account of its own.
    places=("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/rabbitmq/sbin"),
    oldest=(3, 8),
    url=f"amqp://signalbus:{{password}}@{LOOPBACK}:{{port}}/",
    configuration=(
        f"listeners.tcp.1 = {LOOPBACK}:{{port}}\n"
        "default_user = signalbus\n"
        "default_pass = {password}\n"
        "disk_free_limit.absolute = 1MB\n"
    ),
    serve=("{rabbitmq-server}",),
    # Else the node would start one that everybody shares, and leave it there.
    companion=("{epmd}", "-address", LOOPBACK, "-port", "{port_2}"),
    environ={
        "PATH": "{path}",
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": "{port_2}",
        "RABBITMQ_NODENAME": "signalbus{port}@localhost",
        "RABBITMQ_DIST_PORT": "{port_3}",
        "RABBITMQ_MNESIA_BASE": "{data}",
        "RABBITMQ_LOG_BASE": "{home}",
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": "{home}/none",
        "RABBITMQ_CONFIG_FILE": "{home}/configuration",
        "RABBITMQ_ADVANCED_CONFIG_FILE": "{home}/none",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "{home}/none",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-noinput -kernel inet_dist_use_interface {{127,0,0,1}}"
        ),
        # So that the process that is started is the broker, and not a shell.
        "RABBITMQ_ALLOW_INPUT": "1",
    },
)

_REDIS = BrokerKind(
    name="redis",
    version_pattern=r"Redis server v=(\d+\.\d+\.\d+)",
    programs=("redis-server",),
    places=("/usr/bin", "/usr/local/bin"),
    oldest=(6, 2),
    url=f"redis://:{{password}}@{LOOPBACK}:{{port}}/0",
    configuration=(
        f"bind {LOOPBACK}\nport {{port}}\nrequirepass {{password}}\ndir {{data}}\n"
        "appendonly yes\nappendfsync always\nsave ''\n"
    ),
    serve=("{redis-server}", "{home}/configuration"),
)

_NATS = BrokerKind(
    name="nats",
    version_pattern=r"nats-server: v(\d+\.\d+\.\d+)",
    programs=("nats-server",),
    places=("/usr/sbin", "/usr/local/bin"),
    oldest=(2, 8),
    url=f"nats://signalbus:{{password}}@{LOOPBACK}:{{port}}",
    configuration=(
        f"listen: {LOOPBACK}:{{port}}\n"
        'authorization {{ user: signalbus, password: "{password}" }}\n'
        'jetstream {{ store_dir: "{data}" }}\n'
        # A client that has died is found out within seconds.
        'ping_interval: "1s"\nping_max: 2\n'
    ),
    serve=("{nats-server}", "--config", "{home}/configuration"),
)

BROKERS: Mapping[str, BrokerKind] = {
    kind.name: kind for kind in (_RABBITMQ, _REDIS, _NATS)
}


class PrivateBroker:
    """A broker of our own. It keeps its port and its data when it is started again."""

    def __init__(self, kind: BrokerKind, installation: Installation) -> None:
        for program in installation.programs.values():
            account.check_access(program)

        self._kind = kind
        sweep()
        self._home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
        self._lock = claim(self._home)
        self._tie = account.tie_to_parent(signal.SIGKILL)
        self._values = {
            **installation.programs,
            "home": self._home,
            "data": self._home / "data",
            "password": secrets.token_hex(16),
            "path": os.pathsep.join(
                [*(str(p.parent) for p in installation.programs.values()), os.defpath]
            ),
            "port": free_port(),
            "port_2": free_port(),
            "port_3": free_port(),
        }
        configuration = self._home / "configuration"
        configuration.write_text(self._fill_in(kind.configuration))
        (self._home / "data").mkdir()
        for path in (configuration, self._home / "data", self._home):
            account.hand_over(path)
        self._log = (self._home / "log").open("wb")
        self._companion = self._run(kind.companion) if kind.companion else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with its password."""
        return self._fill_in(self._kind.url)

    @property
    def pids(self) -> list[int]:
        """The process that serves, and its companion if there is one."""
        return [each.pid for each in (self._process, self._companion) if each]

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither stopped nor killed since."""
        return self._process is not None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._run(self._kind.serve)
        deadline = time.monotonic() + _START_SECONDS
        while not lets_us_in(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerUnavailable(self._failure())
            time.sleep(0.05)

    def stop(self) -> None:
        """Let it write what it has to write, and end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a warning."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it say nothing any more, though the kernel accepts connections for it."""
        pid = self.pids[0]
        os.kill(pid, signal.SIGSTOP)
        # Its threads are stopped one after another; the last one may still answer.
        states = Path(f"/proc/{pid}/task")
        while any(_state_of(thread) != "T" for thread in states.iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pids[0], signal.SIGCONT)

    def remove(self) -> None:
        """End it, and remove its data."""
        self.kill()
        if self._companion is not None:
            self._companion.kill()
            self._companion.wait()
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)
        os.close(self._lock)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return

        account.end(process, how, patience=_STOP_SECONDS)

    def _run(self, command: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        return account.start(
            [self._fill_in(part) for part in command],
            log=self._log,
            home=self._home,
            tie=self._tie,
            environ={
                name: self._fill_in(value) for name, value in self._kind.environ.items()
            },
        )

    def _fill_in(self, text: str) -> str:
        return text.format(**self._values)

    def _failure(self) -> str:
        lines = (self._home / "log").read_text(errors="replace").splitlines()
        return "\n".join(
            [
                f"The broker {self._kind.name} did not start. "
                f"The last lines of its log:",
                *(f"    {line}" for line in lines[-_LOG_LINES:]),
            ]
        )


def _state_of(thread: Path) -> str:
    # The name, in parentheses, may contain anything.
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def given_url(kind: BrokerKind, environ: Mapping[str, str]) -> str | None:
    """Return the address of a broker in the environment, if there is one.

    :raises ServerUnavailable: If nobody answers there.
    """
    url = environ.get(f"{kind.variable}_URL") or None
    if url is not None and not lets_us_in(url):
        raise ServerUnavailable(
            f"The broker at {kind.variable}_URL does not let us in. Start it, correct "
            f"the address and its password, or unset {kind.variable}_URL to have a "
            f"private one started."
        )

    return url


@contextmanager
def private_broker(
    name: str, environ: Mapping[str, str], say: Say
) -> Iterator[PrivateBroker]:
    """Run a private broker.

    :raises ServerUnavailable: If there is none; the text says what to do.
    """
    kind = BROKERS[name]
    broker = PrivateBroker(kind, installation_for(kind, environ, say))
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()

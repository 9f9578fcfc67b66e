"""Real processes of one search, on this machine or in network namespaces of their own."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

from tests.forked import Forked
from tests.limit import LIMIT


class Hosts:
    """Starts a search's processes, and ends them all.

    Args:
        directory: Of the search.
        options: Of `tests.search.program`.
        address: Of the chief.
        environment: More environment variables.
    """

    def __init__(self, directory, *options, address="127.0.0.1", **environment):
        self.directory, self.options = directory, options
        self.environment = {
            **os.environ,
            "KERASTUNER_ORACLE_IP": address,
            "KERASTUNER_ORACLE_PORT": str(free_port()),
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
            **environment,
        }
        self.started = []

    def start(self, name, namespace=None):
        """The process `name`, "chief" or a worker's name; the namespace is the host's."""
        module, arguments = "tests.search.program", [str(self.directory), *self.options]
        environment = {**self.environment, "KERASTUNER_TUNER_ID": name}
        process = Forked(module, arguments, environment, namespace)
        self.started.append(process)
        return process

    def trainings(self):
        """Who began to train what, in this order."""
        file = self.directory / "trainings.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(line.split(": ")) for line in lines]

    def wait_for(self, what):
        """Until `what()` holds."""
        deadline = time.monotonic() + LIMIT
        while not what():
            for process in self.started:
                if process.poll():
                    assert process.returncode < 0, process.communicate()[1][-3000:]  # else killed by us
            assert time.monotonic() < deadline, f"{what} did not happen: {self.trainings()}"
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
            process.communicate()


def kill(process):
    """As a machine that loses its power."""
    process.kill()
    process.communicate()


def result(process):
    """The last line of a process that ended well."""
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors[-3000:]
    return output.splitlines()[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def can_make_namespaces():
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"khe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode == 0
    return made and subprocess.run(["ip", "netns", "delete", name], capture_output=True).returncode == 0


@contextlib.contextmanager
def network(number):
    """So many hosts, namespaces with addresses 10.99.0.1, ..., whose cables end in a switch: a namespace, too.

    Yields:
        Their names, and a function that unplugs and plugs in the cable of one.
    """
    own = f"khe{os.getpid() % 100000}"
    names = [f"{own}h{host}" for host in range(number)]
    switch = f"{own}s"
    try:
        run("ip netns add", switch)
        run(f"ip -n {switch} link add bridge type bridge")
        run(f"ip -n {switch} link set bridge up")
        for host, name in enumerate(names):
            run("ip netns add", name)
            run(f"ip -n {name} link add eth0 type veth peer name port{host} netns {switch}")
            run(f"ip -n {name} addr add 10.99.0.{host + 1}/24 dev eth0")
            for device in ("eth0", "lo"):
                run(f"ip -n {name} link set {device} up")
            run(f"ip -n {switch} link set port{host} master bridge up")
        yield names, lambda host, state: run(f"ip -n {switch} link set port{host} {state}")
    finally:
        for name in (*names, switch):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def run(command, *more):
    subprocess.run([*command.split(), *more], check=True, capture_output=True)

"""Programs in processes that are forked from a server which has imported them: a second for each instead of six.

Nothing of TensorFlow has been started in the server.
"""

import ctypes
import importlib
import multiprocessing
import os
import sys
import tempfile

CLONE_NEWNET = 0x40000000


class Forked:
    """A process that runs a module's `main()`, with what tests use of `subprocess.Popen`.

    Args:
        module: The module's name.
        arguments: Of the program.
        environment: All its environment variables.
        namespace: The name of its network, as `ip netns` lists it; `None` for this process' own.
    """

    def __init__(self, module, arguments, environment, namespace=None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([module])
        reader, writer = context.Pipe(duplex=False)
        self._errors = tempfile.NamedTemporaryFile("r")  # a full pipe would stop it
        arguments = [module, list(map(str, arguments)), dict(environment), writer, self._errors.name, namespace]
        self._process = context.Process(target=_run, args=arguments)
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        self._process.join(timeout)  # its few lines fit into the pipe
        if self.returncode is None:
            raise TimeoutError(f"process {self.pid} has not ended after {timeout} s")
        output = self.stdout.read() if not self.stdout.closed else ""
        self.stdout.close()
        self._errors.seek(0)
        return output, self._errors.read()


def _run(module, arguments, environment, output, errors, namespace):
    os.setsid()  # so that it can be killed with its own children
    if namespace:
        _enter(namespace)
    os.dup2(output.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    output.close()
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


def _enter(namespace):
    """As `ip netns exec`: this thread is still the only one."""
    with open(f"/var/run/netns/{namespace}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"the network {namespace} cannot be entered")

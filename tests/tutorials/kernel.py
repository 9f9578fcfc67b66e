"""Kernels of notebooks in forked processes, which have imported what notebooks import."""

import os
import sys
import time

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras_tuner  # noqa: F401
import sklearn.datasets  # noqa: F401

import keras_hyperens  # noqa: F401
from tests.forked import Forked


class Kernel(Forked):
    """What `jupyter_client` starts, with all that it uses of `subprocess.Popen`.

    Args:
        command: Its last arguments are those of the kernel.
        env: All its environment variables.
        cwd: Its folder.
        **_: How processes of other systems are started.
    """

    stdin = stderr = None

    def __init__(self, command, env, cwd, **_):
        kernel = command[command.index("ipykernel_launcher") + 1 :]
        super().__init__("tests.tutorials.kernel", [cwd, *kernel], env)
        while os.getpgid(self.pid) != self.pid:  # its group is killed, which is ours at first
            time.sleep(0.01)

    def wait(self):
        self._process.join()
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)


def main():
    folder, *sys.argv[1:] = sys.argv[1:]
    os.chdir(folder)
    sys.path[:0] = [""]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()

"""Functions in processes of their own, which hold nothing but what they need."""

import multiprocessing
import os
from collections.abc import Callable
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_new_process(function: Callable, *arguments: Any, environment: Mapping[str, str] | None = None) -> Any:
    """What `function` returns in a new process, which imports all that it needs by itself.

    Args:
        function: Of a module.
        *arguments: Its arguments.
        environment: Variables of the new process besides those of this one.
    """
    before = dict(os.environ)
    os.environ.update(environment or {})  # read by `import tensorflow`, when the process starts
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(function, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def in_forked_process(function: Callable, *arguments: Any) -> Any:
    """What `function` returns in a process that has imported its module, and done nothing else so far.

    It is forked from a server that holds the imported modules: a second instead of five, and nothing of TensorFlow has
    been started in it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(function, *arguments).result()

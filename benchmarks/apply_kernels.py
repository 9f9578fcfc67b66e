"""How to apply M kernels to the rows of M members: forward and backward, against one plain convolution.

    python -m benchmarks.apply_kernels

Every form computes the same numbers; the plain convolution sees the same M*B rows with one kernel. The forms are
timed in turn, so that a busy machine slows all of them alike; the figures are medians.
"""

import argparse
import time

import numpy as np
import tensorflow as tf

SHAPES = [  # rows per member, height = width, input channels, filters
    (64, 32, 3, 6),
    (64, 14, 6, 16),
    (32, 32, 16, 16),
    (32, 8, 64, 64),
]


def plain(x, kernels):
    return tf.nn.conv2d(x, kernels[0], 1, "SAME")


def split_and_loop(x, kernels):
    members = tf.split(x, len(kernels))
    return tf.concat([tf.nn.conv2d(rows, k, 1, "SAME") for rows, k in zip(members, tf.unstack(kernels))], 0)


def grouped(x, kernels):
    members, channels, filters = len(kernels), x.shape[-1], kernels.shape[-1]
    rows = x.shape[0] // members
    x = tf.reshape(x, (members, rows, *x.shape[1:]))
    x = tf.reshape(tf.transpose(x, (1, 2, 3, 0, 4)), (rows, *x.shape[2:4], members * channels))
    kernel = tf.reshape(tf.transpose(kernels, (1, 2, 3, 0, 4)), (3, 3, channels, members * filters))
    y = tf.nn.conv2d(x, kernel, 1, "SAME")
    y = tf.reshape(y, (rows, *y.shape[1:3], members, filters))
    return tf.reshape(tf.transpose(y, (3, 0, 1, 2, 4)), (-1, *y.shape[1:3], filters))


def vectorized_map(x, kernels):
    x = tf.reshape(x, (len(kernels), -1, *x.shape[1:]))
    y = tf.vectorized_map(lambda pair: tf.nn.conv2d(pair[0], pair[1], 1, "SAME"), (x, kernels))
    return tf.reshape(y, (-1, *y.shape[2:]))


def step_of(form, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def step(x, kernels):
        with tf.GradientTape() as tape:
            tape.watch((x, kernels))
            loss = tf.reduce_sum(form(x, kernels) ** 2)
        return tape.gradient(loss, (x, kernels))

    return step


def medians(steps, arguments, repetitions):
    for step in steps.values():
        step(*arguments)
    times = {name: [] for name in steps}
    for _ in range(repetitions):
        for name, step in steps.items():
            start = time.perf_counter()
            step(*arguments)[0].numpy()
            times[name].append(time.perf_counter() - start)
    return {name: np.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--members", type=int, default=4)
    options = parser.parse_args()
    forms = {form.__name__: (form, False) for form in (plain, split_and_loop, grouped, vectorized_map)}
    # XLA refuses the loop that vectorized_map falls back to for a convolution with a kernel per element.
    forms |= {f"{form.__name__}/xla": (form, True) for form in (plain, split_and_loop, grouped)}
    print(
        f"forward + backward of M = {options.members} 3x3 convolutions, relative to one plain convolution, not compiled"
    )
    print(f"{'B, size, A, U':>20} " + " ".join(f"{name:>18}" for name in forms))
    for rows, size, channels, filters in SHAPES:
        x = tf.random.normal((options.members * rows, size, size, channels))
        kernels = tf.random.normal((options.members, 3, 3, channels, filters))
        steps = {name: step_of(form, jit_compile) for name, (form, jit_compile) in forms.items()}
        seconds = medians(steps, (x, kernels), options.repetitions)
        ratios = " ".join(f"{value / seconds['plain']:>18.2f}" for value in seconds.values())
        print(f"{f'{rows}, {size}, {channels}, {filters}':>20} {ratios}", flush=True)


if __name__ == "__main__":
    main()

"""LiteRT for mobile devices: the size of the file, and the latency of one image on one thread.

python -m examples.recipes.litert_phone      # converts ensemble.keras and one of its members, and measures the files
"""

import pathlib
import time

import numpy as np


def convert(model, name):
    """Exports a model to two LiteRT files: in float32, and with kernels of 8 bits."""
    import tensorflow as tf

    eight_bits = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    model.export(f"{name}.tflite", format="litert", verbose=False)
    model.export(f"{name}_8bit.tflite", format="litert", verbose=False, **eight_bits)


def interpreter(path):
    """Returns a function that predicts one image on one thread, and the shape of its input."""
    from ai_edge_litert.interpreter import Interpreter  # a few megabytes, without TensorFlow

    model = Interpreter(str(path), num_threads=1)
    model.allocate_tensors()
    (taken,), (given,) = model.get_input_details(), model.get_output_details()

    def predict(image):
        model.set_tensor(taken["index"], image)
        model.invoke()
        return model.get_tensor(given["index"])

    return predict, taken["shape"]


def measure(path, calls=2000):
    """Returns the size in kilobytes, and the median latency of one image in microseconds."""
    predict, shape = interpreter(path)
    image, times = np.zeros(shape, "float32"), []
    for _ in range(calls):
        start = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - start)
    return pathlib.Path(path).stat().st_size / 1e3, 1e6 * float(np.median(times[calls // 10 :]))


def main():
    """Prints the size and latency of each file."""
    import keras

    import keras_hyperens  # noqa: F401  registers the classes of the file

    ensemble = keras.models.load_model("ensemble.keras")
    convert(ensemble, "ensemble")
    convert(ensemble.member(0), "member")
    for path in sorted(pathlib.Path(".").glob("*.tflite")):
        kilobytes, microseconds = measure(path)
        print(f"{path.name:<24} {kilobytes:6.1f} kB {microseconds:6.1f} µs")


if __name__ == "__main__":
    main()

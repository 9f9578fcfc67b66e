"""Another process of the demo: serves exported ensembles without this package, and compares their predictions."""

import sys

sys.modules["keras_hyperens"] = None  # whoever imports it here fails

from benchmarks import quiet  # noqa: E402, F401  TensorFlow starts without a word

# isort: split
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main(folders: list[str]) -> None:
    """Predicts the images in each folder of a SavedModel."""
    for folder in folders:
        signature = tf.saved_model.load(folder).signatures["uncertainty"]
        expected = np.load(f"{folder}.npz")
        prediction = signature(inputs=tf.constant(expected["images"]))["prediction"]
        difference = np.abs(prediction - expected["prediction"]).max()
        print(f"{folder} serves the same predictions without this package (largest difference {difference:.0e})")
        if difference > 1e-4:
            sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

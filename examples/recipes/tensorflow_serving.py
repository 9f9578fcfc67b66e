"""TensorFlow Serving with REST: request and response of each signature.

docker run -p 8501:8501 -v "$PWD/served:/models/digits" -e MODEL_NAME=digits tensorflow/serving
python -m examples.recipes.tensorflow_serving      # sends requests to http://localhost:8501
"""

import json
import urllib.request

import numpy as np


def request(images, signature):
    """Returns the body: one instance per sample; for a network with several inputs, a dictionary of these."""
    return json.dumps({"signature_name": signature, "instances": np.asarray(images).tolist()})


def arrays(body):
    """Returns the outputs as arrays by name: `predictions` has one dictionary of outputs per sample."""
    predictions = json.loads(body)["predictions"]
    if not isinstance(predictions[0], dict):  # values of a signature with one output
        return {"prediction": np.array(predictions)}
    return {name: np.array([each[name] for each in predictions]) for name in predictions[0]}


def ask(url, images, signature="serving_default"):
    """Returns the outputs of a served ensemble.

    Args:
        url: For example `http://localhost:8501/v1/models/digits`.
        images: A batch of images.
        signature: `"serving_default"`, `"uncertainty"` or `"decide"`.
    """
    body = request(images, signature).encode()
    call = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=10) as response:
        return arrays(response.read())


def main(url="http://localhost:8501/v1/models/digits"):
    """Requests the outputs for three images."""
    from examples.recipes.train import X_TEST

    for signature in ("serving_default", "uncertainty", "decide"):
        print(signature, {name: values.shape for name, values in ask(url, X_TEST[:3], signature).items()})


if __name__ == "__main__":
    main()

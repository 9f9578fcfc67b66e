"""TensorFlow Serving by REST: the request and the answer of each signature.

docker run -p 8501:8501 -v "$PWD/served:/models/digits" -e MODEL_NAME=digits tensorflow/serving
python -m examples.recipes.tensorflow_serving      # asks http://localhost:8501
"""

import json
import urllib.request

import numpy as np


def request(images, signature):
    """The body: one instance for each sample; a network of several inputs has a dictionary of them as an instance."""
    return json.dumps({"signature_name": signature, "instances": np.asarray(images).tolist()})


def arrays(body):
    """The answer as arrays by name: `predictions` has one dictionary of all outputs for each sample."""
    predictions = json.loads(body)["predictions"]
    if not isinstance(predictions[0], dict):  # of a signature with one output, its values alone
        return {"prediction": np.array(predictions)}
    return {name: np.array([each[name] for each in predictions]) for name in predictions[0]}


def ask(url, images, signature="serving_default"):
    """What a served ensemble answers.

    Args:
        url: Such as `http://localhost:8501/v1/models/digits`.
        images: A batch.
        signature: `"serving_default"`, `"uncertainty"` or `"decide"`.
    """
    body = request(images, signature).encode()
    call = urllib.request.Request(f"{url}:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=10) as response:
        return arrays(response.read())


def main(url="http://localhost:8501/v1/models/digits"):
    """Asks about three images."""
    from examples.recipes.train import X_TEST

    for signature in ("serving_default", "uncertainty", "decide"):
        print(signature, {name: values.shape for name, values in ask(url, X_TEST[:3], signature).items()})


if __name__ == "__main__":
    main()

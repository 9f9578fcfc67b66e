"""KServe's protocol V2 (Open Inference Protocol): requests, responses, and their processing in a server.

python -m examples.recipes.kserve_v2      # calls served/1 in this process with the messages of the protocol
"""

import numpy as np
import tensorflow as tf

DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def tensor(name, values):
    """Returns the message of a tensor: flat values, with a shape."""
    datatype = DATATYPES[values.dtype.name]
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": values.ravel().tolist()}


def array(message):
    """Returns the array of a tensor's message."""
    return np.array(message["data"], DTYPES[message["datatype"]]).reshape(message["shape"])


def request(images, outputs=()):
    """Returns the body of `POST /v2/models/digits/infer`; `outputs` selects outputs, by default all."""
    body = {"inputs": [tensor("inputs", np.asarray(images, "float32"))]}
    return body | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})


def infer(signature, message, model_name="digits"):
    """Returns the response to a request.

    Args:
        signature: Signature of the SavedModel. A KServe model has one: serve `uncertainty` and `decide` as separate
            models, or only `decide`.
        message: The request.
        model_name: Name in the response.
    """
    inputs = {each["name"]: tf.constant(array(each)) for each in message["inputs"]}
    answer = {name: value.numpy() for name, value in signature(**inputs).items()}
    wanted = [each["name"] for each in message.get("outputs", [])] or sorted(answer)
    outputs = [tensor(name, answer[name]) for name in wanted]
    return {"model_name": model_name, "outputs": outputs} | ({"id": message["id"]} if "id" in message else {})


def metadata(signature, model_name="digits"):
    """Returns the response to `GET /v2/models/digits`; axes of variable length are -1."""

    def described(name, spec):
        shape = [-1 if axis is None else axis for axis in spec.shape]
        return {"name": name, "shape": shape, "datatype": DATATYPES[spec.dtype.name]}

    inputs = signature.structured_input_signature[1].items()
    outputs = signature.structured_outputs.items()
    described_both = {
        "inputs": [described(*each) for each in inputs],
        "outputs": [described(*each) for each in outputs],
    }
    return {"name": model_name, "platform": "tensorflow_savedmodel", **described_both}


def main():
    """Prints the response to a request."""
    from examples.recipes.train import X_TEST

    served = tf.saved_model.load("served/1")
    print(metadata(served.signatures["decide"]))
    print(infer(served.signatures["decide"], request(X_TEST[:2], ["label", "refused"])))


if __name__ == "__main__":
    main()

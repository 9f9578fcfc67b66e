# %% [markdown]
# # 7. Serving
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# Serving does not require the package that trained the model. An exported ensemble is a plain TensorFlow SavedModel
# with two signatures: the prediction, and the prediction with uncertainty measures. It runs in TensorFlow Serving and
# can be converted for ONNX Runtime, OpenVINO and LiteRT, with equal predictions.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots,serving]" scikit-learn

# %% tags=["parameters"] short="EPOCHS, REPETITIONS = 1, 20"
EPOCHS, REPETITIONS = 30, 300

# %%
import json
import os
import subprocess
import sys
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_hyperens as khe

keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]


def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(32, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_regularizer=l2),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
ensemble.fit(x[:1000], y[:1000], tuning_split=0.15, epochs=EPOCHS, verbose=0)
ensemble.calibrate(x[1000:1200], y[1000:1200], verbose=0)
images = x[1200:1208]
predictions = ensemble.predict(images, verbose=0)

# %% [markdown]
# ## SavedModel
#
# `export` computes each member's kernels once, at its hyperparameters, and writes them together with the temperature.
# TensorFlow's `saved_model_cli` shows the signatures:

# %%
ensemble.export("served/1")
tool = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
for signature in ("serving_default", "uncertainty"):
    command = [tool, "show", "--dir", "served/1", "--tag_set", "serve", "--signature_def", signature]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(signature)
    print("\n".join(line for line in shown.splitlines() if "name:" not in line and "method" not in line.lower()))

# %% [markdown]
# Another process, which cannot import this package, returns the same predictions.

# %%
PROGRAM = """
import sys
sys.modules["keras_hyperens"] = None
import numpy as np
import tensorflow as tf
served = tf.saved_model.load("served/1")
outputs = served.signatures["uncertainty"](tf.constant(np.load("images.npy")))
print({name: tuple(value.shape) for name, value in outputs.items()})
np.save("elsewhere.npy", outputs["prediction"])
"""
np.save("images.npy", images)
print(subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout)
print("largest difference:", np.abs(np.load("elsewhere.npy") - predictions).max())

# %% [markdown]
# ## Requests to TensorFlow Serving
#
# `tensorflow_model_server --rest_api_port=8501 --model_name=digits --model_base_path=$PWD/served` answers `POST
# /v1/models/digits:predict`. The body is JSON, with the name of a signature and one instance per sample. This
# notebook has no server; the code below calls the SavedModel as the server would.

# %%
body = json.dumps({"signature_name": "uncertainty", "instances": images[:2].tolist()})
print(body[:120], "...")

request = json.loads(body)
served = tf.saved_model.load("served/1")
outputs = served.signatures[request["signature_name"]](tf.constant(request["instances"], tf.float32))
answer = {
    "predictions": [
        {name: value[row].numpy().astype(float).round(4).tolist() for name, value in outputs.items() if name != "members"}
        for row in range(len(request["instances"]))
    ]
}
print(json.dumps(answer, indent=1)[:900])

# %% [markdown]
# ## ONNX, OpenVINO, LiteRT
#
# Keras' export writes the prediction in other formats. Each file is read by its own runtime, in a separate process
# without TensorFlow.

# %%
RUNTIMES = {
    "onnx": (
        "e.onnx",
        "import onnxruntime; s = onnxruntime.InferenceSession('e.onnx');"
        "outputs = s.run(None, {s.get_inputs()[0].name: images})[0]",
    ),
    "openvino": (
        "e.xml",
        "import openvino; c = openvino.compile_model('e.xml', 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'});"
        "outputs = c([images])[0]",
    ),
    "litert": (
        "e.tflite",
        "from ai_edge_litert.interpreter import Interpreter; i = Interpreter('e.tflite');"
        "k = i.get_input_details()[0]['index']; i.resize_tensor_input(k, images.shape); i.allocate_tensors();"
        "i.set_tensor(k, images); i.invoke(); outputs = i.get_tensor(i.get_output_details()[0]['index'])",
    ),
}
for format, (file, reads) in RUNTIMES.items():
    ensemble.export(file, format=format, verbose=False)
    program = f"import numpy as np; images = np.load('images.npy'); {reads}; np.save('outputs.npy', outputs)"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    difference = np.abs(np.load("outputs.npy") - predictions).max()
    files = (file, "e.bin") if format == "openvino" else (file,)
    size = sum(os.path.getsize(each) for each in files)
    print(f"{format:<10}{size / 1e3:>8.0f} kB   largest difference {difference:.1e}")

# %% [markdown]
# (OpenVINO computes in bfloat16 if the processor supports it, unless configured otherwise; the difference is then
# about 1e-3.) These formats only contain the prediction. To export the uncertainty, convert the SavedModel:

# %%
command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", "served/1", "--signature_def", "uncertainty"]
subprocess.run([*command, "--output", "uncertainty.onnx", "--opset", "18"], capture_output=True, check=True)
import onnxruntime

session = onnxruntime.InferenceSession("uncertainty.onnx")
mutual_information = session.run(["mutual_information"], {session.get_inputs()[0].name: images})[0]
expected = ensemble.predict_uncertainty(images, verbose=0)["mutual_information"]
print("ONNX Runtime:", mutual_information.round(4), "largest difference:", np.abs(mutual_information - expected).max())

# %% [markdown]
# ## Latency of folded kernels
#
# `export(folded=False)` stores the shared kernels and computes those of the members in each call: a smaller file, but
# more arithmetic.


# %%
def milliseconds(signature, batch):
    call = served.signatures[signature]
    call(batch)
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


ensemble.export("unfolded/1", folded=False)
medians = {}
for directory in ("served/1", "unfolded/1"):
    served = tf.saved_model.load(directory)
    size = sum(entry.stat().st_size for entry in os.scandir(f"{directory}/variables")) / 1e3
    medians[directory] = [milliseconds("serving_default", tf.constant(x[:batch])) for batch in (1, 32, 256)]
    print(f"{directory:<12}{size:>7.0f} kB of variables, batches of 1, 32, 256:", np.round(medians[directory], 2), "ms")

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, values in medians.items():
    ax.plot((1, 32, 256), values, marker="o", label=name.split("/")[0].replace("served", "folded"))
ax.set(xscale="log", yscale="log", xlabel="images in a request", ylabel="ms, median")
ax.legend();

# %% [markdown]
# Next: [distributed training and search](8_scaling_out.ipynb).

# %% [markdown]
# # 7. Into production
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# Whoever serves a model does not want to install the package that trained it. An exported ensemble is a SavedModel of
# plain TensorFlow with two signatures: the prediction, and everything about its uncertainty. From there it goes to
# TensorFlow Serving, ONNX Runtime, OpenVINO or LiteRT, and says the same everywhere.

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
wanted = ensemble.predict(images, verbose=0)

# %% [markdown]
# ## SavedModel
#
# `export` computes each member's kernels once, at its hyperparameters, and writes them. The temperature
# is part of it. TensorFlow's own tool says what is in there:

# %%
ensemble.export("served/1")
tool = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
for signature in ("serving_default", "uncertainty"):
    command = [tool, "show", "--dir", "served/1", "--tag_set", "serve", "--signature_def", signature]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(signature)
    print("\n".join(line for line in shown.splitlines() if "name:" not in line and "method" not in line.lower()))

# %% [markdown]
# Another process, in which this package cannot be imported, serves the same.

# %%
PROGRAM = """
import sys
sys.modules["keras_hyperens"] = None
import numpy as np
import tensorflow as tf
served = tf.saved_model.load("served/1")
said = served.signatures["uncertainty"](tf.constant(np.load("images.npy")))
print({name: tuple(value.shape) for name, value in said.items()})
np.save("elsewhere.npy", said["prediction"])
"""
np.save("images.npy", images)
print(subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout)
print("largest difference:", np.abs(np.load("elsewhere.npy") - wanted).max())

# %% [markdown]
# ## A request as TensorFlow Serving takes it
#
# `tensorflow_model_server --rest_api_port=8501 --model_name=digits --model_base_path=$PWD/served` answers `POST
# /v1/models/digits:predict`. Its body is JSON, with the name of a signature, and one instance for each row; the
# answer has the same rows. There is no server in this notebook, so the few lines below do with the SavedModel what it
# would do.

# %%
body = json.dumps({"signature_name": "uncertainty", "instances": images[:2].tolist()})
print(body[:120], "...")

request = json.loads(body)
served = tf.saved_model.load("served/1")
said = served.signatures[request["signature_name"]](tf.constant(request["instances"], tf.float32))
answer = {
    "predictions": [
        {name: value[row].numpy().astype(float).round(4).tolist() for name, value in said.items() if name != "members"}
        for row in range(len(request["instances"]))
    ]
}
print(json.dumps(answer, indent=1)[:900])

# %% [markdown]
# ## ONNX, OpenVINO, LiteRT
#
# Keras' own export writes the prediction in other formats. Each is read here by its own runtime, in a process of its
# own, without TensorFlow.

# %%
RUNTIMES = {
    "onnx": (
        "e.onnx",
        "import onnxruntime; s = onnxruntime.InferenceSession('e.onnx');"
        "said = s.run(None, {s.get_inputs()[0].name: images})[0]",
    ),
    "openvino": (
        "e.xml",
        "import openvino; c = openvino.compile_model('e.xml', 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'});"
        "said = c([images])[0]",
    ),
    "litert": (
        "e.tflite",
        "from ai_edge_litert.interpreter import Interpreter; i = Interpreter('e.tflite');"
        "k = i.get_input_details()[0]['index']; i.resize_tensor_input(k, images.shape); i.allocate_tensors();"
        "i.set_tensor(k, images); i.invoke(); said = i.get_tensor(i.get_output_details()[0]['index'])",
    ),
}
for format, (file, reads) in RUNTIMES.items():
    ensemble.export(file, format=format, verbose=False)
    program = f"import numpy as np; images = np.load('images.npy'); {reads}; np.save('said.npy', said)"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    difference = np.abs(np.load("said.npy") - wanted).max()
    files = (file, "e.bin") if format == "openvino" else (file,)
    size = sum(os.path.getsize(each) for each in files)
    print(f"{format:<10}{size / 1e3:>8.0f} kB   largest difference {difference:.1e}")

# %% [markdown]
# (OpenVINO computes in bfloat16 where the processor can, unless it is told not to: then the difference is of the
# order of 1e-3.) These formats hold one function, the prediction. The uncertainty goes along from the SavedModel:

# %%
command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", "served/1", "--signature_def", "uncertainty"]
subprocess.run([*command, "--output", "uncertainty.onnx", "--opset", "18"], capture_output=True, check=True)
import onnxruntime

session = onnxruntime.InferenceSession("uncertainty.onnx")
said = session.run(["mutual_information"], {session.get_inputs()[0].name: images})[0]
inside = ensemble.predict_uncertainty(images, verbose=0)["mutual_information"]
print("mutual information by ONNX Runtime:", np.round(said, 4), "largest difference", np.abs(said - inside).max())

# %% [markdown]
# ## Latency of folded members
#
# `export(folded=False)` keeps the shared kernels and builds each member's on the way: a smaller file, for more
# arithmetic.


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
# Next: [scaling out](8_scaling_out.ipynb).

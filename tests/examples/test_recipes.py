"""Recipes, run with their packages; TensorFlow Serving and KServe by their protocols."""

import asyncio
import http.server
import json
import math
import pathlib
import re
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.serving import predicted_by

ROOT = pathlib.Path(__file__).parents[2]
LITERT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from examples.recipes import litert_phone
x_file, p_file, path = sys.argv[1:]
predict, shape = litert_phone.interpreter(path)
np.save(p_file, np.concatenate([predict(image[None]) for image in np.load(x_file)]))
assert "tensorflow" not in sys.modules
kilobytes, microseconds = litert_phone.measure(path, calls=20)
assert 1 < kilobytes < 1000 and 0 < microseconds < 1e6
"""


def test_the_page_shows_what_the_scripts_say():
    page = (ROOT / "docs" / "recipes.md").read_text()
    scripts = {path.name: path.read_text() for path in (ROOT / "examples" / "recipes").glob("*.py")}
    for section in page.split("\n## ")[1:]:
        (name,) = set(re.findall(r"examples/recipes/(\w+\.py)", section))
        shown = re.findall(r"```python\n(.*?)```", section, re.S)
        assert shown and all(code in scripts[name] for code in shown), name
        assert len(scripts.pop(name).splitlines()) <= 80
    assert set(scripts) <= {"train.py"}


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Tracing a training step takes longer than these training runs."""
    with pytest.MonkeyPatch.context() as patch:
        compile = khe.HyperBatchEnsemble.compile
        patch.setattr(
            khe.HyperBatchEnsemble,
            "compile",
            lambda self, *a, **named: compile(self, *a, **named | {"run_eagerly": True}),
        )
        yield


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """An ensemble trained under MLflow, `served/1` beside it, and what MLflow keeps of it."""
    pytest.importorskip("mlflow")
    directory = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow asks for type hints, which know no tensors
        patch.chdir(directory)
        from examples.recipes import mlflow_pyfunc
        from examples.recipes import train

        patch.setattr(train, "X_TRAIN", train.X_TRAIN[:80])
        patch.setattr(train, "Y_TRAIN", train.Y_TRAIN[:80])
        fit = keras.Model.fit
        ensemble, logged = mlflow_pyfunc.main(epochs=1)
        mlflow_pyfunc.mlflow.keras.autolog(disable=True)
        patch.setattr(keras.Model, "fit", fit)
    return directory, ensemble, logged, train.X_TEST


@pytest.fixture(scope="module")
def served(logged):
    directory, ensemble, _, x = logged
    loaded = tf.saved_model.load(directory / "served" / "1")
    yield loaded.signatures, ensemble, x


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # of MLflow
def test_mlflow_logs_a_training_and_answers_with_uncertainty(logged):
    import mlflow

    directory, ensemble, info, x = logged
    run = mlflow.get_run(info.run_id).data
    assert {"loss", "accuracy", "mean_l2", "mean_dropout"} <= set(run.metrics)
    assert run.params["optimizer_name"] == "adam"
    found = mlflow.pyfunc.load_model(info.model_uri).predict(x[:3])
    expected = ensemble.predict_uncertainty(x[:3], verbose=0)
    assert set(found) == {"prediction", "predictive_entropy", "mutual_information"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=2e-6)


def stand_in(signatures):
    """A handler that answers as TensorFlow Serving documents its row format."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/models/digits:predict" and set(body) == {"signature_name", "instances"}
            signature = signatures[body["signature_name"]]
            ((name, spec),) = signature.structured_input_signature[1].items()
            outputs = signature(**{name: tf.constant(body["instances"], spec.dtype)})
            columns = {name: values.numpy().tolist() for name, values in outputs.items()}
            rows = [dict(zip(columns, row)) for row in zip(*columns.values(), strict=True)]
            answer = {"predictions": [*columns.values()][0] if len(columns) == 1 else rows}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    return Handler


@pytest.mark.integration
def test_tensorflow_serving(served):
    from examples.recipes.tensorflow_serving import ask

    signatures, ensemble, x = served
    expected = {
        "serving_default": {"prediction": ensemble.predict(x[:3], verbose=0)},
        "uncertainty": ensemble.predict_uncertainty(x[:3], verbose=0),
        "decide": ensemble.decide(x[:3], verbose=0),
    }
    expected["uncertainty"]["members"] = np.swapaxes(ensemble.predict_members(x[:3], verbose=0), 0, 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), stand_in(signatures)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/models/digits"
        for signature, outputs in expected.items():
            found = ask(url, x[:3], signature)
            assert set(found) == set(outputs)
            for name, values in outputs.items():
                assert found[name].shape == values.shape and found[name].dtype.kind == values.dtype.kind
                np.testing.assert_allclose(found[name], values, atol=2e-6)
        server.shutdown()


def check_tensor(message):
    """What the protocol asks of every tensor."""
    assert set(message) == {"name", "shape", "datatype", "data"}
    assert message["datatype"] in {"FP32", "INT32", "INT64", "BOOL"}
    assert math.prod(message["shape"]) == len(message["data"])


@pytest.mark.integration
def test_kserve(served):
    from examples.recipes import kserve_v2

    signatures, ensemble, x = served
    message = json.loads(json.dumps(kserve_v2.request(x[:3]) | {"id": "7"}))
    answer = json.loads(json.dumps(kserve_v2.infer(signatures["decide"], message)))
    assert answer["model_name"] == "digits" and answer["id"] == "7"
    expected = ensemble.decide(x[:3], verbose=0)
    assert {each["name"] for each in answer["outputs"]} == set(expected)
    for each in [*message["inputs"], *answer["outputs"]]:
        check_tensor(each)
    for each in answer["outputs"]:
        np.testing.assert_allclose(kserve_v2.array(each), expected[each["name"]], atol=2e-6)
    one = kserve_v2.infer(signatures["decide"], kserve_v2.request(x[:3], ["label"]))
    assert [each["name"] for each in one["outputs"]] == ["label"]
    described = kserve_v2.metadata(signatures["uncertainty"])
    assert described["inputs"] == [{"name": "inputs", "shape": [-1, 8, 8, 1], "datatype": "FP32"}]
    assert {each["name"]: each["shape"] for each in described["outputs"]}["members"] == [-1, 4, 10]


@pytest.mark.integration
def test_fastapi_answers_requests_together(logged, monkeypatch):
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    from examples.recipes import fastapi_server

    directory, ensemble, _, x = logged
    monkeypatch.chdir(directory)
    app, batches = fastapi_server.app, []

    async def answers():
        async with app.router.lifespan_context(app):
            decide = app.state.decide
            app.state.decide = lambda inputs: batches.append(len(inputs)) or decide(inputs=inputs)
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                bodies = [{"pixels": pixels.tolist()} for pixels in [*x[:20], x[0, :1]]]
                return await asyncio.gather(*[client.post("/decide", json=body) for body in bodies])

    *found, wrong = asyncio.run(answers())
    assert wrong.status_code == 422 and "[8, 8, 1]. Received: [1, 8, 1]" in wrong.json()["detail"]
    expected = ensemble.decide(x[:20], verbose=0)
    for row, response in enumerate(found):
        assert response.status_code == 200
        for name, value in response.json().items():
            np.testing.assert_allclose(value, expected[name][row], atol=2e-6)
    assert sum(batches) == 20 and len(batches) <= 3


def test_fastapi_goes_on_after_a_failed_call():
    pytest.importorskip("fastapi")
    from examples.recipes.fastapi_server import answer_batches

    state = {"broken": True}

    def decide(inputs):
        if state["broken"]:
            raise RuntimeError("out of memory")
        return {"value": inputs[:, 0, 0, 0]}

    async def answers_of(queue, values):
        futures = [asyncio.get_running_loop().create_future() for _ in values]
        for value, future in zip(values, futures, strict=True):
            await queue.put((np.full((8, 8, 1), value, "float32"), future))
        return await asyncio.gather(*futures, return_exceptions=True)

    async def answers():
        queue = asyncio.Queue()
        task = asyncio.create_task(answer_batches(queue, decide))
        failed = await answers_of(queue, [1, 2])
        state["broken"] = False
        answered = await answers_of(queue, [3, 4])
        task.cancel()
        return failed, answered

    failed, answered = asyncio.run(answers())
    assert [str(each) for each in failed] == 2 * ["out of memory"]
    assert [each["value"] for each in answered] == [3, 4]


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # of the converter
def test_litert(logged, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    from examples.recipes import litert_phone

    directory, ensemble, _, x = logged
    monkeypatch.chdir(directory)
    member = ensemble.member(0)
    litert_phone.convert(member, "member")
    sizes = {path: (directory / path).stat().st_size for path in ("member.tflite", "member_8bit.tflite")}
    assert sizes["member_8bit.tflite"] < sizes["member.tflite"] / 2
    expected = keras.ops.softmax(member.predict(x[:5], verbose=0))
    for path, tolerance in (("member.tflite", 1e-5), ("member_8bit.tflite", 0.02)):
        found = keras.ops.softmax(predicted_by(LITERT, x[:5], directory, path))
        np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.integration
def test_scikit_learn(monkeypatch):
    from examples.recipes import scikit_learn

    for name in ("load_digits", "load_diabetes"):
        few = [each[:60] for each in getattr(scikit_learn, name)(return_X_y=True)]
        monkeypatch.setattr(scikit_learn, name, lambda return_X_y, few=few: few)
    monkeypatch.setitem(scikit_learn.CLASSES, "units", 8)
    scores, regressor = scikit_learn.main(epochs=1, folds=2)
    assert scores.shape == (2,) and np.isfinite(scores).all() and (scores < 0).all()
    x = scikit_learn.load_diabetes(return_X_y=True)[0][:7]
    ensemble, scaled = regressor[-1].model_, regressor[0].transform(x)
    mean, std = regressor.predict(x, return_std=True)
    expected = ensemble.predict(scaled, verbose=0)  # means and variances
    np.testing.assert_allclose(np.stack([mean, std**2], -1), expected, rtol=1e-5)
    np.testing.assert_array_equal(regressor.predict(x), mean)

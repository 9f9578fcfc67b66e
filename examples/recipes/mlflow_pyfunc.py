"""MLflow: logged training, and a logged model that returns predictions and their uncertainty.

python -m examples.recipes.mlflow_pyfunc      # then `mlflow ui --backend-store-uri sqlite:///mlflow.db`
"""

import mlflow
import numpy as np
import tensorflow as tf


class UncertainModel(mlflow.pyfunc.PythonModel):
    """MLflow model that calls the SavedModel."""

    def load_context(self, context):
        self.served = tf.saved_model.load(context.artifacts["served"])  # which keeps the variables

    def predict(self, context, model_input, params=None):
        outputs = self.served.signatures["uncertainty"](inputs=tf.constant(model_input, "float32"))
        return {name: outputs[name].numpy() for name in ("prediction", "predictive_entropy", "mutual_information")}


mlflow.models.set_model(UncertainModel())  # MLflow stores this file and runs it to load the model


def main(epochs=40):
    """Logs a training run and its model; returns the ensemble and the logged model."""
    from examples.recipes import train  # loading the model only requires TensorFlow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.keras.autolog(log_models=False)  # the SavedModel below has the signatures, and loads without this package
    with mlflow.start_run():
        ensemble = train.main(epochs)
        values = ensemble.hyperparameter_values()  # [M] each
        mlflow.log_metrics({f"mean_{name}": float(np.mean(of_members)) for name, of_members in values.items()})
        logged = mlflow.pyfunc.log_model(
            name="ensemble",
            python_model=__file__,
            artifacts={"served": "served/1"},
            input_example=train.X_TEST[:1],
            pip_requirements=["tensorflow"],
        )
    return ensemble, logged


if __name__ == "__main__":
    from examples.recipes.train import X_TEST

    _, logged = main()
    outputs = mlflow.pyfunc.load_model(logged.model_uri).predict(X_TEST[:3])
    print(outputs["prediction"].argmax(-1), outputs["mutual_information"])

# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fills an MLflow registry by its own client: registered versions of every kind, with the files in a folder.

    python fill_registry.py URL FOLDER

FOLDER holds a SavedModel. Prints JSON: the version of each kind. Runs in the virtual environment that has mlflow.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.models import Model

NAME = "ranker"


def logged(saved_model: Path, place: str, **flavor: str) -> str:
    """Return a folder as mlflow.tensorflow.log_model writes it, with a SavedModel at `place` in it."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(saved_model, folder / place)
    description = Model(artifact_path="model")
    description.add_flavor("tensorflow", **flavor)
    description.add_flavor("python_function", loader_module="mlflow.tensorflow", python_version="3.11.7")
    description.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text("tensorflow\n")
    return str(folder)


def main(url: str, saved_model: Path) -> dict[str, str]:
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("exports")
    client.create_registered_model(NAME)
    module = logged(saved_model, "tf2model", saved_model_dir="tf2model", model_type="tf2-module")

    def register(source: str, **more: str) -> str:
        return str(client.create_model_version(NAME, source, **more).version)

    def of_run(folder: str) -> str:
        run = client.create_run(experiment).info.run_id
        client.log_artifacts(run, folder, "model")
        return register(f"runs:/{run}/model", run_id=run)

    found = {"run": of_run(module)}
    model = client.create_logged_model(experiment, "export")
    client.log_model_artifacts(model.model_id, module)
    client.finalize_logged_model(model.model_id, "READY")
    found["logged"] = register(f"models:/{model.model_id}", model_id=model.model_id)
    keras = Path(tempfile.mkdtemp())
    (keras / "data").mkdir()
    (keras / "data" / "model.keras").write_bytes(b"PK")
    description = Model(artifact_path="model")
    description.add_flavor("tensorflow", data="data", model_type="keras", keras_version="3.11.0")
    description.save(str(keras / "MLmodel"))
    found["keras"] = of_run(str(keras))
    found["two"] = of_run(str(saved_model.parent))
    found["bucket"] = register("s3://elsewhere/exports/model")
    found["copy"] = str(client.copy_model_version(f"models:/{NAME}/{found['run']}", "copied").version)
    client.set_registered_model_alias(NAME, "champion", found["run"])
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))

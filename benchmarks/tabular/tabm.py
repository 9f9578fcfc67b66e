"""TabM (Gorishniy et al., arXiv:2410.24210), with its authors' package `tabm`, which requires PyTorch.

Training as in the paper: AdamW with a constant learning rate, the mean of the members' losses, gradients clipped at
norm 1, and a patience of 16 epochs; learning rate, weight decay and dropout are tuned. Numbers, width, depth, batch
size and Gaussian outputs are those of the other networks; categories are one-hot, as in the package.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.tabular import hypermodel as networks
from benchmarks.tabular import tuning
from benchmarks.tabular.methods import Budget
from benchmarks.tabular.scores import nll
from benchmarks.tabular.tables import Samples
from benchmarks.tabular.tables import Table

PATIENCE = 16
DEFAULTS = {"learning_rate": 2e-3, "weight_decay": 3e-4, "dropout": 0.1}


def tabm(table: Table, seed: int, budget: Budget, ensemble_size: int) -> tuning.Trained:
    import torch

    def train(settings: tuning.Settings, seconds: float) -> tuning.Trained:
        torch.manual_seed(seed)
        model = _model(table, budget.width, ensemble_size, settings["dropout"])
        return _trained(model, table, settings, seconds)

    return tuning.best_of(train, _draws(np.random.default_rng(seed)), budget.seconds_to_tune)


def _draws(generator: np.random.Generator) -> Iterator[tuning.Settings]:
    yield DEFAULTS
    while True:
        yield {
            "learning_rate": tuning.log_uniform(generator, 5e-4, 5e-3),
            "weight_decay": generator.choice([0.0, tuning.log_uniform(generator, 1e-4, 1e-1)]),
            "dropout": generator.choice([0.0, generator.uniform(0.0, 0.5)]),
        }


def _trained(model: Any, table: Table, settings: tuning.Settings, seconds: float) -> tuning.Trained:
    import torch

    decay, rate = settings["weight_decay"], settings["learning_rate"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    inputs, targets = _inputs(table, table.train), torch.as_tensor(table.train.targets)
    best, state, waited, start = np.inf, model.state_dict(), 0, tuning.clock()
    while waited <= PATIENCE and tuning.clock() - start < seconds:
        model.train()
        for chosen in torch.randperm(len(targets)).split(networks.BATCH):
            optimizer.zero_grad()
            _loss(model(*(part[chosen] for part in inputs)), targets[chosen], table.classes).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if tuning.clock() - start >= seconds:
                break
        score = nll(_predictor(model, table)(table.held_out), table.held_out.targets, table)
        waited = 0 if score < best else waited + 1
        if score < best:
            best, state = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    return tuning.Trained(best, _predictor(model, table), sum(each.numel() for each in model.parameters()))


def _model(table: Table, width: int, ensemble_size: int, dropout: float) -> Any:
    import tabm as package

    return package.TabM.make(
        n_num_features=table.train.numbers.shape[1],
        cat_cardinalities=[1 + len(keys) for keys in table.vocabularies],
        d_out=table.classes or 2,
        n_blocks=networks.DEPTH,
        d_block=width,
        dropout=dropout,
        k=ensemble_size,
    )


def _inputs(table: Table, samples: Samples) -> tuple[Any, Any]:
    """Returns normalized numbers as in the other networks, and vocabulary indices of categories, 0 if unknown."""
    import torch

    mean, variance = table.moments
    numbers = (samples.numbers - mean) / np.sqrt(variance)
    places = []
    for keys, column in zip(table.vocabularies, samples.categories.T, strict=True):
        found = np.minimum(np.searchsorted(keys, column), len(keys) - 1)
        places.append(np.where(keys[found] == column, found + 1, 0))
    return torch.as_tensor(numbers), torch.as_tensor(np.stack(places, -1))


def _loss(outputs: Any, targets: Any, classes: int) -> Any:
    """Returns the mean of the members' losses for outputs `[B, k, ...]`."""
    import torch

    targets = targets[:, None].expand(outputs.shape[:2])
    if classes:
        return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    mean, log_scale = outputs.unbind(-1)
    return (torch.square((targets - mean) * torch.exp(-log_scale)) / 2 + log_scale).mean()


def _predictor(model: Any, table: Table) -> tuning.Predict:
    """Returns a function for the mean of the members' probabilities, or mean and variance of their mixture."""
    import torch

    def predict(samples: Samples) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            parts = zip(*(part.split(1_000) for part in _inputs(table, samples)))
            outputs = torch.cat([model(*part) for part in parts])
            if table.classes:
                return torch.softmax(outputs, -1).mean(1).numpy()
            mean, log_scale = outputs.unbind(-1)
            variance = torch.exp(2 * log_scale).mean(1) + mean.var(1, unbiased=False)
            return torch.stack([mean.mean(1), variance], -1).numpy()

    return predict

"""Record what Keras says, for machines without it:

    pip install keras==3.15.1 torch==2.13.0
    python tests/keras/record.py

Models begin with Keras's own initial weights, rounded to 8 bits in Keras too.
"""

import os
import warnings

os.environ["KERAS_BACKEND"] = "torch"
os.environ["COLUMNS"] = "100"

import keras
import numpy as np
import torch
from keras_cases import (
    GRADIENTS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    RECORD,
    coarse,
    fits,
    numbers,
    outputs_for,
    run_layer,
)  # fmt: skip


def record() -> None:
    warnings.simplefilter("ignore")  # input_shape= of a layer is out of fashion
    keras.utils.set_random_seed(0)
    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}

    def call(made, x, mask, training):
        options = {} if mask is None else {"mask": torch.tensor(mask)}
        return made(torch.tensor(x), training=training, **options)

    for name in LAYERS:
        result = run_layer(keras.layers, name, call, keras.ops.convert_to_numpy)
        found |= {f"layer/{name}/{key}": np.asarray(value) for key, value in result.items()}
    for name, (targets, activation) in LOSSES.items():
        loss = keras.losses.get(name)
        found[f"loss/{name}"] = keras.ops.convert_to_numpy(loss(targets, outputs_for(activation)))
    for name, (targets, options) in METRICS.items():
        metric = getattr(keras.metrics, name)(**options)
        outputs = outputs_for("softmax")
        metric.update_state(targets, outputs)
        metric.update_state(targets[:2], outputs[2:], sample_weight=[0.5, 2.0])
        found[f"metric/{name}"] = np.asarray(float(metric.result()))
    for name, make in OPTIMIZERS.items():
        variables = [keras.Variable(numbers("p", (2, 3))), keras.Variable(numbers("q", (3,)))]
        optimizer = make(keras.optimizers)
        for gradients in GRADIENTS:
            optimizer.apply([torch.tensor(g) for g in gradients], variables)
        for i, v in enumerate(variables):
            found[f"optimizer/{name}/{i}"] = keras.ops.convert_to_numpy(v)
    for name, (make, compiled, (x, y), options) in fits().items():
        keras.utils.clear_session()
        model = make(keras)
        steps = [coarse(w) for w in model.get_weights()]
        model.set_weights([q * step for q, step in steps])
        for i, (q, step) in enumerate(steps):
            found[f"fit/{name}/{i}"], found[f"fit/{name}/step{i}"] = q, step
        text: list[str] = []
        model.summary(print_fn=text.append)
        found[f"fit/{name}/summary"] = np.asarray("".join(text))
        model.compile(**compiled)
        history = model.fit(x, y, shuffle=False, verbose=0, **options).history
        for figure, values in history.items():
            found[f"fit/{name}/history/{figure}"] = np.asarray(values)
        found[f"fit/{name}/predicted"] = model.predict(x[:4], verbose=0).astype("float32")
        print(name, model.count_params(), history)
    np.savez_compressed(RECORD, **found)
    print(
        f"{RECORD}: {len(found)} arrays, {RECORD.stat().st_size} bytes; Keras {keras.__version__}"
    )


if __name__ == "__main__":
    record()

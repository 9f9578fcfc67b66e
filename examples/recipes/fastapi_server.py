"""FastAPI: requests that arrive within 5 ms share one call of the ensemble.

uvicorn examples.recipes.fastapi_server:app      # serves served/1 of this directory
"""

import asyncio
from contextlib import asynccontextmanager

import fastapi
import numpy as np
import pydantic
import tensorflow as tf

MOST, WAIT = 64, 0.005  # maximum samples per call, and seconds that the first request waits for others


class Image(pydantic.BaseModel):
    """One request."""

    pixels: list[list[list[float]]]  # [8, 8, 1]


async def answer_batches(queue, decide):
    """Collects requests, calls the ensemble once in a thread, and returns each sample's outputs to its request."""
    while True:
        batch = [await queue.get()]
        end = asyncio.get_running_loop().time() + WAIT
        while len(batch) < MOST and (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                batch.append(await asyncio.wait_for(queue.get(), left))
            except TimeoutError:
                break
        images, futures = zip(*batch, strict=True)
        try:
            outputs = await asyncio.to_thread(decide, inputs=tf.constant(np.stack(images)))
        except Exception as error:  # fails these requests, but not the following ones
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            continue
        answers = {name: values.numpy().tolist() for name, values in outputs.items()}
        for row, future in enumerate(futures):
            if not future.done():  # the client may have disconnected
                future.set_result({name: values[row] for name, values in answers.items()})


@asynccontextmanager
async def lifespan(app):
    """Loads the SavedModel and answers requests until the server stops."""
    served = tf.saved_model.load("served/1")  # keeps the variables
    app.state.decide = served.signatures["decide"]
    app.state.queue = asyncio.Queue()
    task = asyncio.create_task(answer_batches(app.state.queue, lambda **inputs: app.state.decide(**inputs)))
    yield
    task.cancel()


app = fastapi.FastAPI(lifespan=lifespan)


@app.post("/decide")
async def decide(image: Image):
    """Returns the label of an image, its conformal set, and whether the ensemble abstains."""
    pixels = np.asarray(image.pixels, "float32")
    if pixels.shape != (8, 8, 1):
        raise fastapi.HTTPException(422, f"`pixels` must have the shape [8, 8, 1]. Received: {list(pixels.shape)}")
    future = asyncio.get_running_loop().create_future()
    await app.state.queue.put((pixels, future))
    return await future

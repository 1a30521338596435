"""Pipelines that are seeded for every sample, and every place where a user may keep one."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pipelines as itself  # as a script imports a module that lies beside it
from transforms import Array

Pair = tuple[Array, Array]
Transform = Callable[[Array, Array, np.random.Generator], Pair]


class Pipeline:
    """As albumentations has it: seed it, then call it. No two threads may share it."""

    def __init__(self) -> None:
        self.rng = random.Random()

    def seeded(self, rng: np.random.Generator) -> Pipeline:
        self.rng.seed(int(rng.integers(2**31)))
        time.sleep(0.001)
        return self

    def __call__(self, image: Array, mask: Array) -> Pair:
        return image + np.uint8(self.rng.randrange(200)), mask


def run(pipeline: Pipeline, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return pipeline.seeded(rng)(image, mask)


def in_a_closure() -> Transform:
    pipeline = Pipeline()

    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return pipeline.seeded(rng)(image, mask)

    return augment


def in_two_closures_that_must_agree() -> Transform:
    generator = random.Random()

    def seed(rng: np.random.Generator) -> None:
        generator.seed(int(rng.integers(2**31)))
        time.sleep(0.001)

    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        seed(rng)
        return image + np.uint8(generator.randrange(200)), mask

    return augment


def rebound_by_nonlocal() -> Transform:
    current = None

    def seed(rng: np.random.Generator) -> None:
        nonlocal current
        current = int(rng.integers(200))
        time.sleep(0.001)

    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        seed(rng)
        return image + np.uint8(current), mask

    return augment


def nested() -> Transform:
    inner = in_a_closure()

    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        def again() -> Pair:
            return inner(image, mask, rng)

        return again()

    return augment


def in_a_recursive_closure() -> Transform:
    pipeline = Pipeline()

    def augment(image: Array, mask: Array, rng: np.random.Generator, times: int = 2) -> Pair:
        image, mask = pipeline.seeded(rng)(image, mask)
        return augment(image, mask, rng, times - 1) if times else (image, mask)

    return augment


def in_a_default() -> Transform:
    def augment(
        image: Array,
        mask: Array,
        rng: np.random.Generator,
        pipeline: Pipeline = Pipeline(),  # noqa: B008
    ) -> Pair:
        return run(pipeline, image, mask, rng)

    return augment


def in_a_keyword_default() -> Transform:
    def augment(
        image: Array,
        mask: Array,
        rng: np.random.Generator,
        *,
        kept: list[Pipeline] = [Pipeline()],  # noqa: B006, B008
    ) -> Pair:
        return run(kept[0], image, mask, rng)

    return augment


def in_an_attribute_of_the_function() -> Transform:
    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(augment.pipeline, image, mask, rng)  # type: ignore[attr-defined]

    augment.pipeline = Pipeline()  # type: ignore[attr-defined]
    return augment


def in_a_partial() -> Transform:
    return functools.partial(run, Pipeline())


def in_a_lambda() -> Transform:
    pipeline = Pipeline()
    return lambda image, mask, rng: run(pipeline, image, mask, rng)


def decorated(function: Transform) -> Transform:
    pipeline = Pipeline()

    @functools.wraps(function)
    def wrapped(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(pipeline, *function(image, mask, rng), rng)

    return wrapped


@decorated
def by_a_decorator(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return image, mask


class Holder:
    """Keeps one in itself."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()

    def augment(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(self.pipeline, image, mask, rng)

    __call__ = augment


class HolderOfAFunction:
    """Keeps a function that keeps one."""

    def __init__(self) -> None:
        self.function = in_a_closure()

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return self.function(image, mask, rng)


class OfTheClass:
    """All instances have the same one."""

    pipeline = Pipeline()

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(self.pipeline, image, mask, rng)

    @classmethod
    def augment(cls, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(cls.pipeline, image, mask, rng)


class Inherits(OfTheClass):
    """Has it from another class."""


of_the_module = Pipeline()
held = {"pipeline": Pipeline()}


def in_a_global(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return run(of_the_module, image, mask, rng)


def in_a_global_dict(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return run(held["pipeline"], image, mask, rng)


def by_another_function(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return in_a_global(image, mask, rng)


def in_an_attribute_of_a_module(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return run(itself.of_the_module, image, mask, rng)


def in_a_module_imported_late(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    import pipelines

    return run(pipelines.of_the_module, image, mask, rng)


current: int = 0


def in_a_global_that_is_rebound(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    global current
    current = int(rng.integers(200))
    time.sleep(0.001)
    return image + np.uint8(current), mask


@functools.lru_cache
def made_once() -> Pipeline:
    return Pipeline()


def in_a_cache(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    return run(made_once(), image, mask, rng)


class UsesAGlobal:
    """Has none, but its method knows one."""

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(of_the_module, image, mask, rng)

    @staticmethod
    def augment(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(of_the_module, image, mask, rng)


class Meta(type):
    """A class of classes, which keeps one."""

    pipeline = Pipeline()


class OfAMetaclass(metaclass=Meta):
    """Has it from the class of its class."""

    def __call__(self, image: Array, mask: Array, rng: np.random.Generator) -> Pair:
        return run(type(self).pipeline, image, mask, rng)


def python_draws(image: Array) -> Array:
    time.sleep(0.001)
    return image + np.uint8(random.randrange(200))


def numpy_draws(image: Array) -> Array:
    time.sleep(0.001)
    return image + np.uint8(np.random.randint(200))


def in_python_s_generator(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    random.seed(int(rng.integers(2**31)))
    return python_draws(image), mask


def in_numpy_s_generator(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    np.random.seed(int(rng.integers(2**31)))
    return numpy_draws(image), mask


def in_a_generator_imported_late(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    import numpy.random as library

    library.seed(int(rng.integers(2**31)))
    return numpy_draws(image), mask


def in_a_generator_known_by_its_seed(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    from random import seed as begin

    begin(int(rng.integers(2**31)))
    return python_draws(image), mask


class WithALock(Pipeline):
    """Can't be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


PLACES: dict[str, Callable[[], Any]] = {
    "a closure": in_a_closure,
    "two closures": in_two_closures_that_must_agree,
    "nonlocal": rebound_by_nonlocal,
    "nested functions": nested,
    "a recursive closure": in_a_recursive_closure,
    "a default": in_a_default,
    "a keyword's default": in_a_keyword_default,
    "an attribute of the function": in_an_attribute_of_the_function,
    "a partial": in_a_partial,
    "a partial of a closure": lambda: functools.partial(in_a_closure()),
    "a lambda": in_a_lambda,
    "a decorator": lambda: by_a_decorator,
    "an object": Holder,
    "a bound method": lambda: Holder().augment,
    "an object that holds a function": HolderOfAFunction,
    "a class": OfTheClass,
    "a base class": Inherits,
    "a class method": lambda: Inherits.augment,
    "a global variable": lambda: in_a_global,
    "a global dict": lambda: in_a_global_dict,
    "another function's global variable": lambda: by_another_function,
    "a module": lambda: in_an_attribute_of_a_module,
    "a module imported late": lambda: in_a_module_imported_late,
    "a global variable that is rebound": lambda: in_a_global_that_is_rebound,
    "a cache": lambda: in_a_cache,
    "a method that knows a global variable": UsesAGlobal,
    "a static method": lambda: UsesAGlobal.augment,
    "a metaclass": OfAMetaclass,
    "Python's generator": lambda: in_python_s_generator,
    "NumPy's generator": lambda: in_numpy_s_generator,
    "a generator imported late": lambda: in_a_generator_imported_late,
    "a generator known by its seed": lambda: in_a_generator_known_by_its_seed,
}

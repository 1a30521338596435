"""All executors keep one contract."""

from __future__ import annotations

import cloudpickle
import pytest

import executor_contract
from executor_contract import ExecutorContract, ProcessesContract
from zarrfeed_convert.executors.selection import executor_of


class TestSerial(ExecutorContract):
    def executor(self, context, failures):
        return executor_of(context, 1, failures)


class TestProcesses(ProcessesContract):
    def executor(self, context, failures):
        return executor_of(context, 2, failures)


class TestDask(ProcessesContract):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def cluster(cls):
        pytest.importorskip("distributed", reason="needs distributed")
        from clusters import local_cluster

        cloudpickle.register_pickle_by_value(executor_contract)  # workers cannot import tests
        with local_cluster(2) as local:
            cls.address = local.scheduler_address
            yield

    def executor(self, context, failures):
        return executor_of(context, None, failures, self.address)

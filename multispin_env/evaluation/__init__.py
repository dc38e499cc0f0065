"""The reference protocol as a library: controllers, episodes, statistics, folders of results, tables and pictures."""

from multispin_env.evaluation.agents import Agent
from multispin_env.evaluation.controller import Controller
from multispin_env.evaluation.evaluator import Evaluation, evaluate
from multispin_env.evaluation.reference import FIRST_EVALUATION_SEED

__all__ = ["FIRST_EVALUATION_SEED", "Agent", "Controller", "Evaluation", "evaluate"]

"""The scalar Gymnasium environment: the batch of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation
from multispin_env.envs.checks import check_choice, check_options, check_seed
from multispin_env.envs.rendering import RENDER_MODES, render_round
from multispin_env.envs.specs import PlainSpec
from multispin_env.envs.system import BatchedSystem, RoundViewMixin, Step


class MultiSpinEnv(RoundViewMixin, PlainSpec, gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Multi-access speculative inference: draft lengths and bandwidth for phones that share an uplink and a verifier.

    ## Description

    K phones draft tokens with small language models and share one uplink band; an edge server's large model verifies
    all drafts in one batch. Every round the agent decides how many tokens each user drafts and how much bandwidth it
    gets. The goal is sum goodput: accepted tokens of all users per second (Zheng et al., arXiv 2606.04581, eq. 13).

    Registered as `multispin_env/Heterogeneous-v0`, a draft length for every user, and `multispin_env/Homogeneous-v0`,
    one for all. Both have a natively vectorised form through `gymnasium.make_vec`.

    ## Action Space

    `Box(-1, 1, (n,), float32)`, by the argument `action`; length and tilts are of each user, in order, all of one part
    before those of the next (one length in the homogeneous environment):

    | `action` | Parts | Zeros |
    |---|---|---|
    | `"direct"` | lengths, tilts of the shares of the band | equal lengths, uploads of equal time as predicted |
    | `"lengths"` | lengths; the closed form splits the band | equal lengths that arrive together, cautiously expected |
    | `"residual"` | tilts of the rates and acceptances that the closed form is told | the optimum of what to count on |

    A length `a` drafts `min(floor((L_max + 1) ** ((a + 1) / 2)), L_max)` tokens: 1 to 25, 5 at 0. Shares are
    proportional to `L_k / r_k exp(a_k)`, `r_k` being the rate predicted (`multispin_env.optimal.RatePredictor`).
    Residual tilts multiply the rates to count on (`multispin_env.optimal.forecast`) by `exp(a)` and the odds of the
    acceptance by `exp(3 a)`. No numbers starve a user: a clipped standard Gaussian earns over .3 of what zeros earn.

    `decode_action` says which `Allocation` an action plays now; `encode_action` gives the nearest action (how near, the
    codecs in `multispin_env.envs.actions` say). `step_allocation` plays an `Allocation` itself.

    ## Observation Space

    `Box(0, high, (11 K,), float32)`: eleven features, each for all users in order; number `f * K + k` is feature f of
    user k. (`multispin_env.core.round_features` lists them.)

    | f | Feature | Divided by | Bounds |
    |---|---|---|---|
    | 0 | drafting latency now | `drafting_latency_s` | 0 to its largest value |
    | 1 | spectral efficiency observed at the start of the round | 8 bit/s/Hz | 0 to 8 |
    | 2 | spectral efficiency at the gain averaged over fading | 8 bit/s/Hz | 0 to 8 |
    | 3 | mean spectral efficiency of the last round's upload | 8 bit/s/Hz | 0 to 8 |
    | 4 | Doppler shift as estimated; 0 where there is no estimate | 16 Hz | 0 to 100 |
    | 5 | acceptance, mean of the user's task | 1 | 0 to 1 |
    | 6 | acceptance, standard deviation of the task | 1 | 0 to 0.5 |
    | 7 | drafts of this request that verification has decided | `requests.tokens_high` | 0 to about 2 |
    | 8 | drafts of this request that were accepted | `requests.tokens_high` | 0 to about 2 |
    | 9 | draft length of the last round | `max_draft_length` | 0 to 1 |
    | 10 | drafts accepted in the last round | `max_draft_length` | 0 to 1 |

    It is the protocol's `RoundView`, no more and no less; controllers read the same through `round_view()`.

    ## Rewards

    | `reward` | Of a round |
    |---|---|
    | `"goodput"` | its realised goodput, tokens of all users over its duration, over a constant: about 1 |
    | `"time-priced"` | its tokens less a price times its seconds, over a constant: about 0 |

    The constants are those of :func:`multispin_env.optimal.average_round`. The figure of merit is total tokens over
    total seconds of an episode. The mean of the rounds' goodputs hardly feels a long round; the mean of `"time-priced"`
    orders policies as the figure of merit does.

    `info` holds, per user, `draft_length`, `bandwidth_share`, `tokens`, `drafting_s` and `upload_s`, and of the round
    `multi_access_s`, `verification_s`, their sum `latency_s`, and `goodput` in tokens per second; of the episode so
    far, in every step, `episode_tokens`, `episode_seconds` and `episode_goodput`, at the last step the episode's figure
    of merit. Where models write, in the scenario `live`, it also holds `text`: a tuple with each user's text as the
    round left it. `reset` returns the same entries, all zero (texts empty): no round was played yet.

    ## Starting State

    Every user draws a path gain, a speed, a device and a task, and begins the first request of its list; fading and
    shadowing start in their stationary distributions, devices are rested. From there on the channel is a function of
    time, and what becomes of a draft one of its position in the request: the same whatever is decided.

    ## Episode End

    Truncated after `episode_rounds` rounds (200), or after `max_episode_steps` of `gymnasium.make` if these are fewer.
    Nothing terminates. `reset` has no options.

    ## Arguments

    | Argument | Default | Allowed |
    |---|---|---|
    | `scenario` | `"paper"` | a name in `SCENARIOS`; `"trace"` needs a measured pair, `"live"` the extra `live` |
    | `model_pair` | `"llama2"` | a name in `MODEL_PAIRS`, a registered one, or the path of a pair's `.json` file |
    | `action` | `"direct"` | `"direct"`, `"lengths"` or `"residual"` |
    | `reward` | `"goodput"` | `"goodput"` or `"time-priced"` |
    | `config` | `None` | fields of `SystemConfig` to change, e.g. `{"num_users": 5}`, or a whole `SystemConfig` |
    | `render_mode` | `None` | `"ansi"`, `"rgb_array"` (needs matplotlib) |

    A scenario or pair that a module of yours registers is named `"module:name"` in other processes.

    ## Version History

    * v0: first version
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 2}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        draft_lengths: str = "heterogeneous",
        scenario: str = "paper",
        model_pair: str = "llama2",
        action: str = "direct",
        reward: str = "goodput",
        config: Mapping[str, Any] | SystemConfig | None = None,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        if render_mode is not None:
            check_choice("render_mode", render_mode, RENDER_MODES)
        self.render_mode = render_mode
        self._system = BatchedSystem(
            1,
            single=True,
            draft_lengths=draft_lengths,
            scenario=scenario,
            model_pair=model_pair,
            action=action,
            reward=reward,
            config=config,
            max_episode_steps=None,  # gymnasium.make keeps it and wraps a TimeLimit around
            unknown=unknown,
        )
        self.config = self._system.config
        self.action_space = self._system.actions.space
        self.observation_space = self._system.observations.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode; all of its randomness comes from ``np_random``.

        Args:
            seed: Seeds ``np_random`` anew; None lets it go on.
            options: None or an empty dict: there are no options.

        Raises:
            gymnasium.error.Error: The seed is no integer of at least 0.
            ValueError: An option is asked for.
        """
        check_options(options)
        super().reset(seed=check_seed(seed))
        observations, infos = self._system.reset([self.np_random])
        return observations[0], _first(infos)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Plays one round.

        Raises:
            ResetNeeded: Called before the first reset, or after the end of the episode.
            TypeError: The action is no array of real numbers.
            ValueError: The action has the wrong shape, NaN, or lies outside [-1, 1].
        """
        return self._returned(self._system.step(action))

    def step_allocation(self, allocation: Allocation) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Plays one round by an allocation itself, whose arrays are (users,), or (1, users) as controllers return them.

        It is ``step`` but for the decoding, and so has no distortion: no allocation is out of its reach.

        Raises:
            ResetNeeded: Called before the first reset, or after the end of the episode.
            TypeError: It is no pair of arrays of real numbers.
            ValueError: The allocation is impossible in this environment.
        """
        return self._returned(self._system.step_allocation(allocation))

    def encode_action(self, allocation: Allocation) -> NDArray[np.float32]:
        """The nearest action, now, to an allocation, whose arrays are (users,), or (1, users).

        With ``direct`` and ``lengths`` it has the same lengths, with ``direct`` also the same shares if they are within
        reach; with ``residual`` nearly the same. :meth:`step_allocation` plays any allocation exactly.

        Raises:
            ResetNeeded: There was no reset.
            TypeError: It is no pair of arrays of real numbers.
            ValueError: The allocation is impossible in this environment.
        """
        return self._system.encode(allocation)[0]

    def decode_action(self, action: NDArray[np.float32]) -> Allocation:
        """The allocation, arrays (users,), that an action plays now.

        Raises:
            ResetNeeded: There was no reset.
            TypeError: The action is no array of real numbers.
            ValueError: The action has the wrong shape, NaN, or lies outside [-1, 1].
        """
        lengths, shares = self._system.decode(action)
        return Allocation(lengths[0], shares[0])

    def render(self) -> str | NDArray[np.uint8] | None:
        """The last round as text (``ansi``) or as a picture (``rgb_array``).

        Raises:
            ResetNeeded: There was no reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render was called, but the environment was made without a render_mode")
            return None
        return render_round(self.render_mode, self._system, 0)

    def _returned(self, step: Step) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        observations, rewards, infos = step
        return observations[0], float(rewards[0]), False, self._system.ended, _first(infos)


def _first(infos: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The infos of a batch of one as those of its environment, numbers as Python's own."""
    return {name: values.item() if values.ndim == 1 else values[0] for name, values in infos.items()}

"""The engine, called as the published `KronosPredictor` is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from torch import nn

from greenlight.api import UserError, load_into
from greenlight_forecasters.engine.calls import plain_state
from greenlight_forecasters.engine.service import Predictor
from greenlight_forecasters.kronos.candles import Candles, stamps
from greenlight_forecasters.kronos.config import EPSILON, FEATURES, ModelConfig, Settings, TokenizerConfig, check_pair
from greenlight_forecasters.kronos.network import KronosNetwork
from greenlight_forecasters.kronos.sampling import Sampling, fill_sequential, noise_size
from greenlight_forecasters.kronos.static import KronosStatic
from greenlight_forecasters.kronos.tokenizer import KronosTokenizer

if TYPE_CHECKING:
    from greenlight_forecasters.kronos.served import Loop

PRICES, VOLUME, AMOUNT = list(FEATURES[:4]), FEATURES[4], FEATURES[5]
_COLUMNS = pd.Index(FEATURES)
# Windows at once on a GPU; a CPU's caches hold few.
_WINDOWS_PER_BATCH = {"cuda": 64, "cpu": 8}


class StaticKronosPredictor(Predictor):
    """What stands in for a `KronosPredictor`: `predict` and `predict_batch`, by the static engine.

    Random numbers are those of torch's own generator of the device, in the order in which the published code consumes
    them: after the same `torch.manual_seed` it gives the same draws. It may be called from many threads.

    Attributes:
        max_context, clip, device: as the published predictor's; they can't be changed.
    """

    def __init__(self, engine: KronosStatic | Loop, *, clip: float = 5, **service: Any) -> None:
        """See `Predictor`."""
        super().__init__(engine, **service)
        self._clip = float(clip)

    @classmethod
    def of_published(cls, predictor: Any, mode: str | None, **settings: Any) -> Self:
        """The same interface on the weights of a loaded `KronosPredictor`.

        Args:
            mode: one of torch.compile's; None or `eager` compiles nothing.

        Raises:
            UserError: weights that are not Kronos' as this engine knows it, or not float32.
        """
        device = next(predictor.model.parameters()).device
        with plain_state(device):
            network = _network(predictor.model)
            tokenizer = _tokenizer(predictor.tokenizer)
            check_pair(network.config, tokenizer.config, "accelerate: the predictor's tokenizer")
            own = Settings(max_context=predictor.max_context, windows_per_batch=_WINDOWS_PER_BATCH.get(device.type, 8))
            engine = KronosStatic(network, tokenizer, own, str(device))
            # The user may change their own model later: that these are other weights then is said.
            engine.guard.watch_instead({"predictor.model": predictor.model, "predictor.tokenizer": predictor.tokenizer})
        if mode not in (None, "eager"):
            engine.compile(mode)
        return cls(engine, clip=predictor.clip, **settings)

    @property
    def max_context(self) -> int:
        """The most rows that the model sees."""
        return self._engine.settings.max_context

    @property
    def clip(self) -> float:
        """Where normalised candles are cut off."""
        return self._clip

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self._engine.device

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: pd.Series | pd.DatetimeIndex,
        y_timestamp: pd.Series | pd.DatetimeIndex,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> pd.DataFrame:
        """The mean of the samples: a row for each of `y_timestamp`, which is the index, and six columns, float32.

        Args:
            df: open, high, low, close; volume and amount where they are known, which are used as they are.
            x_timestamp, y_timestamp: times of the rows and of those to forecast; hours are used as they are written.
            pred_len: rows to forecast.
            T, top_k, top_p: how tokens are drawn; top_k above 0 wins over top_p.
            sample_count: sample paths.
            verbose: taken, and of no effect: there is no progress to show within a call.

        Raises:
            ValueError: as the published code, and for settings that have no meaning.
        """
        arguments = (pred_len, T, top_k, top_p, sample_count, verbose)
        return self.predict_batch([df], [x_timestamp], [y_timestamp], *arguments)[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        y_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
    ) -> list[pd.DataFrame]:
        """As `predict`, of several series with the same number of rows."""
        paths = self.paths_batch(
            df_list, x_timestamp_list, y_timestamp_list, pred_len, T, top_k, top_p, sample_count, _of_samples=np.mean
        )
        indices = {id(times): pd.Index(times) for times in y_timestamp_list}  # often one object for all series
        return [
            pd.DataFrame(mean, columns=_COLUMNS, index=indices[id(times)])
            for mean, times in zip(paths, y_timestamp_list, strict=True)
        ]

    def paths(
        self,
        df: pd.DataFrame,
        x_timestamp: pd.Series | pd.DatetimeIndex,
        y_timestamp: pd.Series | pd.DatetimeIndex,
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
    ) -> np.ndarray:
        """All sample paths, [sample_count, pred_len, 6] float32; `predict` gives their mean. Arguments as there."""
        return self.paths_batch([df], [x_timestamp], [y_timestamp], pred_len, T, top_k, top_p, sample_count)[0]

    def paths_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        y_timestamp_list: Sequence[pd.Series | pd.DatetimeIndex],
        pred_len: int,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        _of_samples: Any = None,
    ) -> list[np.ndarray]:
        """As `paths`, of several series with the same number of rows."""
        sampling = _sampling(T, top_k, top_p)
        _check_counts(pred_len, sample_count, self.max_context)
        candles = candles_of(df_list, x_timestamp_list, y_timestamp_list, pred_len, self._clip)
        found = self._normalised(candles, pred_len, sample_count, sampling)
        if _of_samples is not None:
            found = _of_samples(found, axis=1)
        rows = zip(found, candles.deviation, candles.mean, strict=True)
        return [values * (deviation + np.float32(EPSILON)) + mean for values, deviation, mean in rows]

    def warm_up(self, context: int, horizon: int, samples: int = 1, series: int = 1) -> None:
        """Have the code for a shape compiled: calls of as many series and samples, and no more rows, then run it."""
        classes = self._engine.classes
        rows = np.zeros((series, context, len(FEATURES)), dtype=np.float32)
        times = np.zeros((series, context + horizon, 5), dtype=np.int64)
        scale = np.ones((series, len(FEATURES)), dtype=np.float32)
        candles = Candles(rows, rows[:, :0], times, scale, scale)
        with self._service.warming():
            noise = torch.ones(series, horizon, noise_size(samples, classes), dtype=torch.float32, device=self.device)
            for _ in range(2):  # a CUDA graph is recorded at the first, and replayed at the second
                self._engine.paths(candles, noise, samples, Sampling(1.0, 0, 0.9))

    def numbers(self, series: int, horizon: int, samples: int) -> torch.Tensor:
        """The random numbers of a call, [series, horizon, noise_size], from torch's own generator as published."""
        classes = self._engine.classes
        noise = torch.empty(series, horizon, noise_size(samples, classes), dtype=torch.float32, device=self.device)
        fill_sequential(noise, samples, classes)
        return noise

    def _normalised(self, candles: Candles, horizon: int, samples: int, sampling: Sampling) -> np.ndarray:
        """Sample paths [series, samples, horizon, 6] float32."""
        series, rows = candles.values.shape[:2]
        with self._service.call([rows], horizon, series, samples):
            paths = self._engine.paths(candles, self.numbers(series, horizon, samples), samples, sampling)
        if not np.isfinite(paths).all():
            raise RuntimeError(
                "logits or candles that are not finite numbers came out of the model; its weights, or the prices, are "
                "beyond what it can work with"
            )
        return paths


def _sampling(temperature: float, top_k: int, top_p: float) -> Sampling:
    if not temperature > 0 or not math.isfinite(temperature):
        raise ValueError(f"T is {temperature}; expected a number above 0")
    if top_k < 0 or int(top_k) != top_k:
        raise ValueError(f"top_k is {top_k}; expected 0, which is off, or a number of classes")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; expected a probability above 0 and at most 1")
    return Sampling(float(temperature), int(top_k), float(top_p))


def _check_counts(horizon: int, samples: int, max_context: int) -> None:
    if not 1 <= horizon <= max_context:
        raise ValueError(f"pred_len is {horizon}; expected 1 to max_context, which is {max_context}")
    if samples < 1:
        raise ValueError(f"sample_count is {samples}; expected 1 or more")


def candles_of(frames: Any, x_times: Any, y_times: Any, horizon: int, clip: float) -> Candles:
    """Series as the published code normalises them; ValueError where it raises one."""
    lists = (frames, x_times, y_times)
    if not all(isinstance(one, (list, tuple)) for one in lists):
        raise ValueError("df_list, x_timestamp_list and y_timestamp_list must be lists or tuples")
    if len({len(one) for one in lists}) != 1 or not frames:
        raise ValueError(f"expected as many frames as lists of times, found {[len(one) for one in lists]}")
    rows = [_rows(frame, number) for number, frame in enumerate(frames)]
    times, known = [], dict[int, np.ndarray]()
    for number, (own, before, after) in enumerate(zip(rows, x_times, y_times, strict=True)):
        if len(before) != own.shape[1] or len(after) != horizon:
            raise ValueError(
                f"series {number} has {own.shape[1]} rows, {len(before)} times of them and {len(after)} times to "
                f"forecast; expected {own.shape[1]}, {own.shape[1]} and pred_len, which is {horizon}"
            )
        for one in (before, after):
            if id(one) not in known:  # often one object for all series
                known[id(one)] = _stamps(one)
            times.append(known[id(one)])
    if len({own.shape[1] for own in rows}) != 1:
        raise ValueError(f"all series must have the same number of rows, found {[own.shape[1] for own in rows]}")
    # Row by row in memory, as a data frame's columns are: float32 sums depend on the order.
    values = np.stack(rows)
    mean, deviation = values.mean(axis=-1), values.std(axis=-1)
    values -= mean[..., None]
    values /= (deviation + np.float32(EPSILON))[..., None]
    np.clip(values, -clip, clip, out=values)
    stamped = np.stack([np.concatenate(pair) for pair in zip(times[::2], times[1::2], strict=True)])
    future = np.zeros((len(values), 0, len(FEATURES)), dtype=np.float32)
    return Candles(np.ascontiguousarray(values.transpose(0, 2, 1)), future, stamped, mean, deviation)


def _rows(frame: pd.DataFrame, number: int) -> np.ndarray:
    """[6, rows] float32: an amount that is missing is made of the volume, a volume that is missing is 0, with it."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"series {number} is a {type(frame).__name__}; expected a pandas DataFrame")
    if frame.columns.equals(_COLUMNS) and (values := frame.to_numpy()).dtype.kind == "f":  # in a tenth of the time
        rows = values.T
    else:
        if absent := [name for name in PRICES if name not in frame.columns]:
            raise ValueError(f"series {number} has no column {', '.join(absent)}")
        columns = {name: frame[name] for name in PRICES}
        if VOLUME in frame.columns:
            columns[VOLUME] = frame[VOLUME]
            made = AMOUNT not in frame.columns
            columns[AMOUNT] = frame[VOLUME] * frame[PRICES].mean(axis=1) if made else frame[AMOUNT]
        else:
            columns |= {VOLUME: 0.0, AMOUNT: 0.0}
        rows = pd.DataFrame(columns, index=frame.index).to_numpy(np.float64, na_value=np.nan).T
    if np.isnan(rows).any():
        raise ValueError(f"series {number} holds missing values in its price or volume columns")
    return rows.astype(np.float32)


def _stamps(times: Any) -> np.ndarray:
    """[rows, 5] int64 of times as they are written, in whatever zone."""
    if isinstance(getattr(times, "dtype", None), np.dtype) and times.dtype.kind == "M":
        return stamps(np.asarray(times))
    return stamps(pd.DatetimeIndex(times).tz_localize(None).to_numpy())


def _network(model: nn.Module) -> KronosNetwork:
    """Our network with the weights of a loaded published one, of which it is a copy."""
    state = _float32_state(model, "model")
    s1, width = state["embedding.emb_s1.weight"].shape
    config = ModelConfig(
        s1_bits=int(math.log2(s1)),
        s2_bits=int(math.log2(len(state["embedding.emb_s2.weight"]))),
        n_layers=_layers(state, "transformer."),
        d_model=width,
        n_heads=_unwrapped(model).n_heads,
        ff_dim=len(state["transformer.0.ffn.w1.weight"]),
        learn_te="time_emb.minute_embed.weight" in state,
    )
    network = KronosNetwork(config)
    load_into(network, state, "accelerate: the predictor's model")
    return network


def _tokenizer(tokenizer: nn.Module) -> KronosTokenizer:
    """Our tokenizer with the weights of a loaded published one, of which it is a copy."""
    state = _float32_state(tokenizer, "tokenizer")
    width, features = state["embed.weight"].shape
    s1_bits = state["post_quant_embed_pre.weight"].shape[1]
    config = TokenizerConfig(
        d_in=features,
        d_model=width,
        n_heads=_unwrapped(tokenizer).n_heads,
        ff_dim=len(state["encoder.0.ffn.w1.weight"]),
        # The published code builds one block fewer than its configuration says.
        n_enc_layers=_layers(state, "encoder.") + 1,
        n_dec_layers=_layers(state, "decoder.") + 1,
        s1_bits=s1_bits,
        s2_bits=len(state["quant_embed.weight"]) - s1_bits,
        group_size=len(state["tokenizer.bsq.group_basis"]),
    )
    found = KronosTokenizer(config)
    load_into(found, state, "accelerate: the predictor's tokenizer")
    return found


def _unwrapped(module: nn.Module) -> nn.Module:
    """A module without torch.compile's wrapper."""
    return getattr(module, "_orig_mod", module)


def _float32_state(module: nn.Module, role: str) -> dict[str, torch.Tensor]:
    """Copies of a module's tensors on the CPU; UserError where weights are not float32, or names are not Kronos'."""
    state = {name: tensor.detach().cpu().clone() for name, tensor in _unwrapped(module).state_dict().items()}
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise UserError(
                f"accelerate: {name} of the predictor's {role} is {tensor.dtype}; Kronos is accelerated in float32 "
                "only (tokens are signs and likeliest classes, which rounding flips). Load it in float32"
            )
    needed = "embedding.emb_s1.weight" if role == "model" else "post_quant_embed_pre.weight"
    if needed not in state:
        raise UserError(f"accelerate: the predictor's {role} has no {needed}; expected a published Kronos {role}")
    return state


def _layers(state: dict[str, torch.Tensor], prefix: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(prefix)})

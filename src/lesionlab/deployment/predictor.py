"""A bundle at work, without torch: pixels in, logits, calibrated probabilities, embedding out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from lesionlab.array_types import Float32, UInt8
from lesionlab.data.images import Preprocessing, normalise
from lesionlab.deployment.bundle import MODEL, Bundle
from lesionlab.deployment.clinical_inputs import UNKNOWN, encode_clinical
from lesionlab.deployment.ood import Detector, detector_of
from lesionlab.errors import BadInput
from lesionlab.evaluation.calibration import softmax
from lesionlab.platforms import usable_cpus

SELF_TEST_TOLERANCE = {"float32": 1e-3, "int8": 0.5}  # of the largest logit; int8 varies by CPU


@dataclass(frozen=True)
class Outputs:
    """What the network says of N images; `prob` (N, K) float32 is calibrated (see schema)."""

    logits: Float32
    prob: Float32
    embedding: Float32
    cam: Float32 | None = None  # (N, K, h, w), unnormalised evidence by place


class Predictor:
    """One ONNX Runtime session on a checked bundle; `predict` may be called from any thread."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        self.bundle = bundle
        self.info = bundle.info
        self.how: Preprocessing = bundle.preprocessing
        self._shift = bundle.log_prior_ratio()
        self.unknown: Float32 | None = None  # (1, F), of a network that reads facts
        if bundle.info.facts is not None:
            self.unknown = encode_clinical([UNKNOWN], bundle.info.facts)
        self._session = _session(bundle, threads or usable_cpus())
        self.detector: Detector | None = None
        if bundle.info.ood is not None:
            self.detector = detector_of(bundle.arrays, bundle.info.ood)

    def predict(
        self, pixels: UInt8, with_cam: bool = False, facts: Float32 | None = None
    ) -> Outputs:
        """(N, size, size, C) uint8 from `prepare` -> `Outputs`.

        `facts` (N, F) come from `encode_clinical`; without them nothing is known of the cases.
        """
        return self.predict_normalised(normalise(pixels, self.how), with_cam, facts)

    def predict_normalised(
        self, images: Float32, with_cam: bool = False, facts: Float32 | None = None
    ) -> Outputs:
        """Like `predict`, from (N, C, H, W) float32 that is normalised already."""
        names = ["logits", "embedding"]
        if with_cam and "cam" in self.info.outputs:
            names.append("cam")
        given = {"images": images}
        if self.unknown is not None:
            given["facts"] = np.repeat(self.unknown, len(images), 0) if facts is None else facts
        logits, embedding, *rest = self._session.run(names, given)
        cam = rest[0] if rest else None
        return Outputs(logits, self.probabilities(logits), embedding, cam)

    def probabilities(self, logits: Float32) -> Float32:
        """(N, K) softmax(z / T + log prior - log train_prior), in float32."""
        return softmax(logits / np.float32(self.info.temperature) + self._shift)

    def self_test(self) -> float:
        """Answer the test picture; `BadInput` unless the logits are those of the export.

        Returns the largest difference. It catches a runtime that computes something else.
        """
        logits = self.predict(test_picture(self.how)[None]).logits[0]
        wanted = np.array(self.info.self_test, np.float32)
        difference = float(np.abs(logits - wanted).max())
        limit = SELF_TEST_TOLERANCE[self.info.precision] * max(1.0, float(np.abs(wanted).max()))
        if not difference <= limit:
            raise BadInput(
                f"the self-test differs by {difference:.3g} (at most {limit:.3g})",
                where=str(self.bundle.source),
                remedy="use another version of onnxruntime, or export the model again",
            )
        return difference


def test_picture(how: Preprocessing) -> UInt8:
    """The picture of the self-test, (size, size, C) uint8: integer ramps, the same everywhere."""
    y, x = np.mgrid[: how.size, : how.size]
    planes = [(x * 7 + y * 3) % 256, (x * 2 + y * 5) % 256, (x * y) % 256]
    return np.stack(planes[: how.channels], axis=-1).astype(np.uint8)


def _session(bundle: Bundle, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    where = f"{bundle.source}/{MODEL}"
    try:
        session = onnxruntime.InferenceSession(
            bundle.model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 (the runtime has its own zoo of exceptions)
        first = str(error).splitlines()[0]
        raise BadInput(f"onnxruntime cannot load the model ({first})", where=where) from None
    _check_shapes(session, bundle, where)
    return session


def _wanted_inputs(bundle: Bundle) -> dict[str, tuple[list[int], str]]:
    how, facts = bundle.preprocessing, bundle.info.facts
    wanted = {"images": ([how.channels, how.size, how.size], "tensor(float)")}
    if facts is not None:
        wanted["facts"] = ([encode_clinical([UNKNOWN], facts).shape[1]], "tensor(float)")
    return wanted


def _check_shapes(session: Any, bundle: Bundle, where: str) -> None:
    info, wanted = bundle.info, _wanted_inputs(bundle)
    inputs = {i.name: (i.shape[1:], i.type) for i in session.get_inputs()}
    if inputs != wanted:
        raise BadInput(f"its inputs are {inputs}, but {wanted} was expected", where=where)
    outputs = {o.name: o.shape[1:] for o in session.get_outputs()}
    if tuple(outputs) != info.outputs or outputs.get("logits") != [len(info.classes)]:
        raise BadInput(
            f"outputs {outputs} do not fit {len(info.classes)} classes and {info.outputs}",
            where=where,
        )
    if outputs.get("embedding") != [info.embedding_size]:
        raise BadInput(f"the embedding is not {info.embedding_size} wide", where=where)

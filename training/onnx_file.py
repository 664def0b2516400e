"""Writes the built-in model as an ONNX file, which runs without torch: the weights of a safetensors file, and the network as a graph.

The graph is built node by node instead of exported by torch, so that the file depends only on the weights, has any batch size, and can
compare frames that an earlier call encoded.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.types import LABELS
from inference.architectures.siamese_strip import CANVAS, NAME, NetworkSize
from inference.models.checkpoint import read_checkpoint
from inference.models.session import CHECKPOINT_SHA256

_OPSET: Final = 18
_IR_VERSION: Final = 9  # the oldest that has this opset, for older versions of ONNX Runtime


def write_onnx(checkpoint: Path, output: Path) -> None:
    """Write the network of a safetensors file as ONNX, with the digest of that file in its metadata."""
    content = read_checkpoint(checkpoint)
    state = {name: tensor.numpy() for name, tensor in content.state.items()}
    model = build(state, NetworkSize.parse(content.config), content.sha256)
    output.write_bytes(model.SerializeToString(deterministic=True))


def build(state: dict[str, npt.NDArray[np.float16]], size: NetworkSize, checkpoint_sha256: str) -> onnx.ModelProto:
    """Build the graph.

    Its inputs are ``canvases`` (new, 3, 32, 512) in -1..1, the features ``kept`` from earlier calls, (kept, features, 4, 64), and the
    pairs to compare as indices ``first`` and ``second`` into the kept frames followed by the new ones. Its outputs are the ``features``
    of all these frames and the ``probabilities`` (pairs, 2, 5), forward and backward.
    """
    graph = _Graph(state)
    features = graph.node("Concat", ["kept", _encode(graph, size)], "features", axis=0)
    logits = _decide(graph, _contrast(graph, features, size))
    both = graph.node("Softmax", [logits], axis=1)
    split = graph.node("Reshape", [both, graph.constant([2, -1, len(LABELS)])])
    graph.node("Transpose", [split], "probabilities", perm=[1, 0, 2])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            NAME,
            [
                helper.make_tensor_value_info("canvases", TensorProto.FLOAT, ("new", 3, *CANVAS)),
                helper.make_tensor_value_info("kept", TensorProto.FLOAT, ("kept", size.features, 4, 64)),
                helper.make_tensor_value_info("first", TensorProto.INT64, ("pairs",)),
                helper.make_tensor_value_info("second", TensorProto.INT64, ("pairs",)),
            ],
            [
                helper.make_tensor_value_info("features", TensorProto.FLOAT, ("frames", size.features, 4, 64)),
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("pairs", 2, len(LABELS))),
            ],
            initializer=graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="extents",
    )
    helper.set_model_props(model, {CHECKPOINT_SHA256: checkpoint_sha256})
    onnx.checker.check_model(model, full_check=True)
    return model


def _encode(graph: "_Graph", size: NetworkSize) -> str:
    """As ``SiameseStrip.encode``."""
    x = "canvases"
    for layer, stride in enumerate((2, 2, 1)):
        x = graph.block(f"shrink.{layer}", x, (stride, stride))
    for name in ("detail", *(f"more_details.{layer}" for layer in range(size.details - 1))):
        x = graph.add(x, graph.block(name, x))
    x = graph.block("halve", x, (2, 2))
    for layer in range(size.refinements):
        x = graph.add(x, graph.block(f"refine.{layer}", x))
    return x


def _contrast(graph: "_Graph", features: str, size: NetworkSize) -> str:
    """As ``SiameseStrip.contrast``, for any pairs."""
    before, after = (graph.gather(graph.conv(name, features, (1, 2)), index) for name, index in (("first", "first"), ("second", "second")))
    before_reversed, after_reversed = graph.gather(_output("first"), "second"), graph.gather(_output("second"), "first")
    difference = graph.node("Abs", [graph.node("Sub", [graph.gather(features, "first"), graph.gather(features, "second")])])
    apart = graph.conv("distance", difference, (1, 2))
    forward, backward = (graph.add(graph.add(left, right), apart) for left, right in ((before, after), (before_reversed, after_reversed)))
    x = graph.node("Relu", [graph.node("Concat", [forward, backward], axis=0)])
    for layer in range(size.comparisons):
        x = graph.add(x, graph.block(f"compare.{layer}", x))
    return x


def _decide(graph: "_Graph", contrasts: str) -> str:
    """As ``SiameseStrip.decide``."""
    x = graph.block("gather", contrasts, (2, 2))
    pooled = [graph.node("Flatten", [graph.node(kind, [x])]) for kind in ("GlobalAveragePool", "GlobalMaxPool")]
    weights = [graph.weight("classify.weight"), graph.weight("classify.bias")]
    return graph.node("Gemm", [graph.node("Concat", pooled, axis=1), *weights], transB=1)


def _output(conv: str) -> str:
    return f"{conv}_output"


class _Graph:
    """The nodes and stored tensors of a graph that is being built. Weights stay in half precision in the file."""

    def __init__(self, state: dict[str, npt.NDArray[np.float16]]) -> None:
        self._state = state
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node; return its output's name."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: list[int]) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def weight(self, name: str) -> str:
        self.initializers.append(numpy_helper.from_array(self._state[name], name))
        return self.node("Cast", [name], to=TensorProto.FLOAT)

    def conv(self, name: str, x: str, strides: tuple[int, int]) -> str:
        weights = [self.weight(f"{name}.{part}") for part in ("weight", "bias") if f"{name}.{part}" in self._state]
        return self.node("Conv", [x, *weights], _output(name), strides=strides, pads=(1, 1, 1, 1))

    def block(self, name: str, x: str, strides: tuple[int, int] = (1, 1)) -> str:
        return self.node("Relu", [self.conv(f"{name}.conv", x, strides)])

    def add(self, left: str, right: str) -> str:
        return self.node("Add", [left, right])

    def gather(self, x: str, index: str) -> str:
        """Take whole frames by their index."""
        return self.node("Gather", [x, index], axis=0)

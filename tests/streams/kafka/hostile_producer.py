"""Records with headers whose names are arbitrary bytes. Python clients refuse to write them; librdkafka's C interface does not."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import confluent_kafka


def send_with_header_names(servers: str, topic: str, values: Sequence[bytes], name: bytes, *, key: bytes = b"", partition: int = 0) -> None:
    """Send records as one batch, each with a header of this name, and wait until the brokers have them."""
    lib, error = _library(), ctypes.create_string_buffer(512)
    conf = lib.rd_kafka_conf_new()
    for setting, value in ((b"bootstrap.servers", servers.encode()), (b"linger.ms", b"200")):
        assert lib.rd_kafka_conf_set(conf, setting, value, error, len(error)) == 0, error.value
    producer = lib.rd_kafka_new(_PRODUCER, conf, error, len(error))
    assert producer, error.value
    for value in values:
        headers = lib.rd_kafka_headers_new(1)
        assert lib.rd_kafka_header_add(headers, name, len(name), b"of any kind", -1) == 0
        _produce(lib, producer, topic.encode(), partition, key, value, headers)
    assert lib.rd_kafka_flush(producer, 30_000) == 0
    lib.rd_kafka_destroy(producer)


_PRODUCER = 0
_TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _HEADERS = 1, 3, 4, 5, 7, 10
_COPY = 2
_Pointer, _Size, _Text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p

_FUNCTIONS = (
    ("rd_kafka_conf_new", _Pointer, []),
    ("rd_kafka_conf_set", ctypes.c_int, [_Pointer, _Text, _Text, _Text, _Size]),
    ("rd_kafka_new", _Pointer, [ctypes.c_int, _Pointer, _Text, _Size]),
    ("rd_kafka_headers_new", _Pointer, [_Size]),
    ("rd_kafka_header_add", ctypes.c_int, [_Pointer, _Text, ctypes.c_ssize_t, _Text, ctypes.c_ssize_t]),
    ("rd_kafka_produceva", _Pointer, [_Pointer, _Pointer, _Size]),
    ("rd_kafka_flush", ctypes.c_int, [_Pointer, ctypes.c_int]),
    ("rd_kafka_destroy", None, [_Pointer]),
)


def _library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka includes."""
    (library,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
    lib = ctypes.CDLL(str(library))
    for name, result, arguments in _FUNCTIONS:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class _Memory(ctypes.Structure):
    _fields_ = (("pointer", _Pointer), ("size", _Size))


class _Argument(ctypes.Union):
    _fields_ = (("text", _Text), ("number", ctypes.c_int32), ("memory", _Memory), ("pointer", _Pointer), ("padding", ctypes.c_char * 64))


class _Tagged(ctypes.Structure):
    """``rd_kafka_vu_t``."""

    _fields_ = (("tag", ctypes.c_int), ("of", _Argument))


def _produce(lib: ctypes.CDLL, producer: int, topic: bytes, partition: int, key: bytes, value: bytes, headers: int) -> None:
    arguments = (_Tagged * 6)()
    for argument, tag in zip(arguments, (_TOPIC, _PARTITION, _VALUE, _KEY, _FLAGS, _HEADERS), strict=True):
        argument.tag = tag
    arguments[0].of.text = topic
    arguments[1].of.number = partition
    for argument, data in ((arguments[2], value), (arguments[3], key)):
        argument.of.memory.pointer, argument.of.memory.size = ctypes.cast(_Text(data), _Pointer), len(data)
    arguments[4].of.number = _COPY
    arguments[5].of.pointer = headers
    assert lib.rd_kafka_produceva(producer, ctypes.byref(arguments), len(arguments)) is None

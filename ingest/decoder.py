"""One body of `POST /api/v1/measurements` → Batch: unpacked, named, decoded; here, or in a process of its own.

As a program (`python -m ingest.decoder`) it answers jobs on its standard input one by one until
that ends. Large bodies are decoded there: decoding holds Python's lock, and nobody else's request
shall wait for that; and whatever a body does to a decoder, it does not do it to the interface.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import signal
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import msgspec
import numpy as np

from ingest.arrow import decode_arrow
from ingest.batch import decode, encode
from ingest.decode import decode_measurements, decode_ndjson
from ingest.decoded import NO_ENVELOPE, Decoded, Envelope, Malformed, Origin
from ingest.lineprotocol import decode_lines
from ingest.unpacking import unpack
from store.quarantine import kept

MAX_BODY_BYTES = 16 * 2**20
_NICE = 5
_LENGTHS = struct.Struct("<II")

Form = Literal["json", "ndjson", "arrow", "lines"]


class Job(msgspec.Struct, frozen=True):
    """What a body is, and whose. `coding` as in `ingest.unpacking`; `mode` overrides what the body says.

    `precision` of times that are numbers (None: the form's own), and `equipment_tag`: see `ingest.points`.
    """

    unit: str
    source: str
    received_at: int
    form: Form = "json"
    coding: str = ""
    mode: str | None = None
    precision: str | None = None
    equipment_tag: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a body.

    `decoded` or `malformed`; `digest` of the body (SHA-256, unpacked); `original` its beginning, when
    it is malformed; `cpu_s` seconds of computing.
    """

    decoded: Decoded | None
    malformed: Malformed | None
    digest: bytes
    original: bytes
    cpu_s: float


class _Head(msgspec.Struct):
    """An outcome on its way between processes; after it come the batch, the index of its rows, and their origin."""

    reason: str | None
    parameters: dict[str, str]
    digest: bytes
    original: bytes
    cpu_s: float
    rows: int
    word: str
    records: int
    envelope: Envelope
    by_row: bool


_JOB = msgspec.msgpack.Decoder(Job)
_HEAD = msgspec.msgpack.Decoder(_Head)
_ENCODER = msgspec.msgpack.Encoder()


def decode_body(job: Job, body: bytes) -> Outcome:
    """Unpack, name and decode one body."""
    begun = time.thread_time()
    digest = b""
    try:
        body = unpack(body, job.coding, MAX_BODY_BYTES)
        digest = hashlib.sha256(body).digest()
        decoded = _decoded(job, body)
    except Malformed as malformed:
        original, parameters = kept(body, malformed.parameters)
        malformed.parameters = parameters
        return Outcome(None, malformed, digest, original, time.thread_time() - begun)
    return Outcome(decoded, None, digest, b"", time.thread_time() - begun)


def _decoded(job: Job, body: bytes) -> Decoded:
    who: dict[str, Any] = {
        "unit": job.unit, "source": job.source, "received_at": job.received_at, "mode": job.mode,
    }  # fmt: skip
    if job.form == "arrow":
        return decode_arrow(body, **who)
    body = body.removeprefix(codecs.BOM_UTF8)  # which programs on Windows put before what they write
    match job.form:
        case "ndjson":
            return decode_ndjson(body, **who)
        case "lines":
            return decode_lines(body, **who, equipment_tag=job.equipment_tag, precision=job.precision or "ns")
        case "json":
            return decode_measurements(
                body, **who, equipment_tag=job.equipment_tag, precision=job.precision or "s"
            )


def ask(to: BinaryIO, answers: BinaryIO, job: Job, body: bytes) -> Outcome:
    """Have a job done by the program at the other end. Raises EOFError or OSError when it is gone."""
    head = _ENCODER.encode(job)
    to.write(_LENGTHS.pack(len(head), len(body)))
    to.write(head)
    to.write(body)
    to.flush()
    n_head, n_batch = _LENGTHS.unpack(_exactly(answers, _LENGTHS.size))
    told = _HEAD.decode(_exactly(answers, n_head))
    data = _exactly(answers, n_batch)
    index = np.frombuffer(_exactly(answers, told.rows * 8), np.int64)
    number = np.frombuffer(_exactly(answers, told.records * 8), np.int64)
    if told.reason is not None:
        malformed = Malformed(told.reason, told.parameters)
        return Outcome(None, malformed, told.digest, told.original, told.cpu_s)
    origin = Origin(told.word, number) if told.word else None
    decoded = Decoded(decode(data), index, origin, told.envelope, told.by_row)
    return Outcome(decoded, None, told.digest, b"", told.cpu_s)


def answer(jobs: BinaryIO, to: BinaryIO) -> None:
    """Do one job. Raises EOFError when there are no more."""
    n_head, n_body = _LENGTHS.unpack(_exactly(jobs, _LENGTHS.size))
    job = _JOB.decode(_exactly(jobs, n_head))
    done = decode_body(job, _exactly(jobs, n_body))
    data, index, number, word, envelope = b"", b"", b"", "", NO_ENVELOPE
    if done.decoded is not None:
        data, index = encode(done.decoded.batch), done.decoded.index.tobytes()
        envelope = done.decoded.envelope
        if (origin := done.decoded.origin) is not None:
            word, number = origin.word, origin.number.tobytes()
    fault = done.malformed
    head = _ENCODER.encode(
        _Head(
            reason=None if fault is None else fault.reason,
            parameters={} if fault is None else fault.parameters,
            digest=done.digest,
            original=done.original,
            cpu_s=done.cpu_s,
            rows=len(index) // 8,
            word=word,
            records=len(number) // 8,
            envelope=envelope,
            by_row=done.decoded is not None and done.decoded.by_row,
        )
    )
    to.write(_LENGTHS.pack(len(head), len(data)))
    to.writelines((head, data, index, number))
    to.flush()


def _exactly(source: BinaryIO, n: int) -> bytes:
    data = source.read(n)
    if len(data) < n:
        raise EOFError("the other end is gone")
    return data


def main() -> None:
    """Answer jobs until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever started this one decides
    os.nice(_NICE)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            answer(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
